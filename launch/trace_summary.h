#pragma once
// Where the time of a run's steps went, over ranks and steps.

#include <cstdint>
#include <string>
#include <vector>

#include "launch/time_split.h"
#include "runtime/json.h"

namespace tessera {

/// One rank over the steps of the summary.
struct RankTime {
  TraceHeader header;
  int64_t lost = 0;  ///< ranges that its ring no longer had
  int64_t first_complete = 0;
  TimeSplit split{};
};

/// All ranks over consecutive steps, both ends included.
struct StepsTime {
  int64_t first = 0, last = 0;
  TimeSplit split{};
};
std::string name_of(const StepsTime& steps);  ///< "step 3", "steps 3-7"

struct TraceSummary {
  std::string run;
  std::vector<RankTime> ranks;
  StepsTime overall;
  std::vector<StepsTime> stretches;  ///< overall in at most ten pieces of equal length, the last one shorter
};

/// Takes ranks in order, then says what they have in common.
class TraceSummarizer {
 public:
  explicit TraceSummarizer(std::string run) : run_(std::move(run)) {}

  /// Throws Error naming file, field and values when the trace is not of the next rank of the same training.
  void add(const TraceFile& trace);
  /// Of the steps from first to last that every rank has whole.  Throws Error when there is none.
  TraceSummary summary(int64_t first, int64_t last) const;

 private:
  std::string run_;
  std::vector<RankTime> ranks_;
  std::vector<std::map<int64_t, TimeSplit>> steps_;  ///< of each rank, by number
};

/// Shares of a whole in tenths of a percent, which sum to 1000: the largest remainders are rounded up.
std::vector<int64_t> tenths_of_percent(const std::vector<int64_t>& parts);

/// Tables for people.  Parts that never occur are left out.
std::string text_of(const TraceSummary& summary);
/// Everything, in nanoseconds.
Json json_of(const TraceSummary& summary);

}  // namespace tessera
