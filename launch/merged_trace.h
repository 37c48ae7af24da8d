#pragma once
// All ranks of a run in one file for Perfetto.

#include <ostream>

#include "launch/trace_file.h"

namespace tessera {

/// Chrome trace JSON: a process per rank with the tracks steps, training thread, communication (as many as messages overlap),
/// loader and checkpoint.  A collective has its step and its number in the step as arguments, which are the same on every
/// rank, and arrows lead from rank to rank.  Ranks come one after the other: memory is that of one.
class MergedTrace {
 public:
  explicit MergedTrace(std::ostream& out);
  void add(const TraceFile& trace);  ///< rank 0, then rank 1, ...
  void finish();

 private:
  void event(const std::string& json);
  void name_tracks(const TraceHeader& header, size_t lanes);
  void add_range(const RecordedRange& range, int rank, int thread, const std::string& arguments);
  void add_arrow(const RecordedRange& range, const TraceHeader& header, int thread, int64_t step,
                 int64_t index);

  std::ostream& out_;
  bool first_ = true;
};

}  // namespace tessera
