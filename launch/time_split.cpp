#include "launch/time_split.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace tessera {
namespace {

/// The names that are no kernels.
constexpr std::pair<std::string_view, Part> kNames[] = {
    {"step", Part::idle},
    {"count_statistics", Part::idle},
    {"write_metrics", Part::idle},
    {"gather_parameters", Part::gather},
    {"wait_for_parameters", Part::gather},
    {"exchange_gradients", Part::gradients},
    {"wait_for_gradients", Part::gradients},
    {"expert_dispatch", Part::dispatch},
    {"wait_for_dispatch", Part::dispatch},
    {"expert_combine", Part::combine},
    {"wait_for_combine", Part::combine},
    {"exchange_replicas", Part::replicas},
    {"wait_for_replicas", Part::replicas},
    {"start_collective", Part::other},
    {"wait_for_collective", Part::other},
    {"wait_for_batch", Part::loader},
    {"checkpoint", Part::checkpoint},
    {"adamw", Part::optimizer},
    {"norm_parts", Part::optimizer},
};

Part part_of(std::string_view name) {
  const auto* found = std::ranges::find(kNames, name, [](const auto& entry) { return entry.first; });
  return found == std::end(kNames) ? Part::compute : found->second;
}

bool computes(Part part) { return part == Part::compute || part == Part::optimizer; }

/// Walks over the ranges of a rank in the order of their begins.
class Sweep {
 public:
  explicit Sweep(int64_t complete_from_ns) : complete_from_ns_(complete_from_ns) {}

  void begin(const RecordedRange& range) {
    advance(range.begin_ns);
    if (range.track == Track::communication) {
      const Part part = inherited(Part::other);
      int64_t& until = under_way_until_[static_cast<size_t>(is_communication(part) ? part : Part::other)];
      until = std::max(until, range.end_ns);
      return;
    }
    if (range.name == "step" && range.begin_ns >= complete_from_ns_) {
      step_ = range.number;
      ++splits_[step_].steps;
      step_end_ns_ = range.end_ns;
    }
    const Part part = part_of(range.name);
    open_.push_back({range.end_ns, part == Part::other ? inherited(part) : part});
  }

  std::map<int64_t, TimeSplit> end() && {
    advance(step_end_ns_);
    return std::move(splits_);
  }

 private:
  struct Open {
    int64_t end_ns;
    Part part;
  };

  /// Of the innermost open range that can hold a collective of its own.
  Part inherited(Part otherwise) const {
    const auto found = std::find_if(open_.rbegin(), open_.rend(), [this](const Open& range) {
      return range.end_ns > now_ns_ && !computes(range.part) && range.part != Part::idle;
    });
    return found == open_.rend() ? otherwise : found->part;
  }

  void advance(int64_t to_ns) {
    while (now_ns_ < to_ns) {
      while (!open_.empty() && open_.back().end_ns <= now_ns_) open_.pop_back();
      const Part part = open_.empty() ? Part::idle : open_.back().part;
      const int64_t end = open_.empty() ? to_ns : std::min(to_ns, open_.back().end_ns);
      if (now_ns_ < step_end_ns_) add(part, std::min(end, step_end_ns_));
      now_ns_ = end;
    }
  }

  /// From now to end_ns, in the step.
  void add(Part part, int64_t end_ns) {
    TimeSplit& split = splits_[step_];
    split.ns[static_cast<size_t>(part)] += end_ns - now_ns_;
    if (!computes(part)) return;
    int64_t longest = 0;
    for (size_t i = 0; i < kParts.size(); ++i) {
      const int64_t overlapped = std::max<int64_t>(0, std::min(end_ns, under_way_until_[i]) - now_ns_);
      split.overlapped_ns[i] += overlapped;
      longest = std::max(longest, overlapped);
    }
    split.overlapped_by_any_ns += longest;
  }

  const int64_t complete_from_ns_;
  int64_t now_ns_ = 0, step_ = -1, step_end_ns_ = 0;
  std::vector<Open> open_;  ///< of the training thread, the innermost last; some have ended
  std::array<int64_t, kParts.size()> under_way_until_{};
  std::map<int64_t, TimeSplit> splits_;
};

}  // namespace

const char* name_of(Part part) {
  constexpr const char* kTitles[] = {"compute",  "optimizer", "gather", "gradients",  "dispatch", "combine",
                                     "replicas", "other",     "loader", "checkpoint", "idle"};
  static_assert(std::size(kTitles) == kParts.size());
  return kTitles[static_cast<size_t>(part)];
}

int64_t TimeSplit::total() const { return std::accumulate(ns.begin(), ns.end(), int64_t{0}); }

TimeSplit& TimeSplit::operator+=(const TimeSplit& more) {
  for (size_t i = 0; i < kParts.size(); ++i) {
    ns[i] += more.ns[i];
    overlapped_ns[i] += more.overlapped_ns[i];
  }
  overlapped_by_any_ns += more.overlapped_by_any_ns;
  steps += more.steps;
  return *this;
}

std::map<int64_t, TimeSplit> split_steps(const TraceFile& trace) {
  std::vector<RecordedRange> ordered;
  for (const RecordedRange& range : trace.ranges)
    if (range.track == Track::compute || range.track == Track::communication) ordered.push_back(range);
  // Of ranges that begin together the longer one is outside; messages begin inside of what starts them.
  std::ranges::sort(ordered, [](const RecordedRange& a, const RecordedRange& b) {
    if (a.begin_ns != b.begin_ns) return a.begin_ns < b.begin_ns;
    if (a.track != b.track) return a.track < b.track;
    return a.end_ns > b.end_ns;
  });
  Sweep sweep(trace.complete_from_ns());
  for (const RecordedRange& range : ordered) sweep.begin(range);
  return std::move(sweep).end();
}

}  // namespace tessera
