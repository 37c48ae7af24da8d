#pragma once
// tessera trace: the traces of all ranks on one clock.

#include <cstdint>
#include <limits>
#include <ostream>
#include <string>

namespace tessera {

struct TraceOptions {
  std::string run{};   ///< folder of a training with trace=true
  std::string out{};   ///< the merged file; RUN/trace.json when empty
  std::string page{};  ///< HTML file to write; none when empty
  int64_t first = 0, last = std::numeric_limits<int64_t>::max();  ///< steps of the tables
  bool json = false;
};

/// Writes the merged trace (launch/merged_trace.h) and prints where the time went (launch/trace_summary.h).  Throws Error naming
/// file, field and value when a trace is missing or damaged; nothing is written then.
void run_trace(const TraceOptions& options, std::ostream& out);

}  // namespace tessera
