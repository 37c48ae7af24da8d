#pragma once
// One rank's trace as a training leaves it, read back on rank 0's clock.

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/trace.h"

namespace tessera {

struct RecordedRange {
  std::string_view name;  ///< in TraceFile::names
  int64_t begin_ns, end_ns, number, bytes;
  Track track;
};

struct TraceFile {
  TraceHeader header;
  int64_t lost = 0;                   ///< ranges that the ring no longer had
  std::vector<RecordedRange> ranges;  ///< in the order of their ends
  std::set<std::string, std::less<>> names{};

  TraceFile() = default;
  TraceFile(TraceFile&&) = default;  ///< no copy: ranges point into names

  /// Steps that begin before it may lack ranges.
  int64_t complete_from_ns() const { return lost > 0 ? ranges.front().end_ns : 0; }
};

/// "RUN/trace_3.json"
std::string trace_path(const std::string& run, int rank);

/// Times are rank 0's: offsets between two points of the clock by proportion.  Throws Error naming file, field and value when it
/// is missing, truncated or damaged, or has more ranges than a ring holds.
TraceFile read_trace(const std::string& path);

}  // namespace tessera
