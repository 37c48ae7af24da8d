#include "launch/merged_trace.h"

#include <algorithm>
#include <cstdio>

#include "runtime/json.h"

namespace tessera {
namespace {

// Thread ids, in the order of display.
constexpr int kSteps = 1, kTraining = 2, kCommunication = 3, kLoader = 1000, kCheckpoint = 1001;

std::string microseconds(int64_t ns) {
  char text[48];
  std::snprintf(text, sizeof text, "%.3f", static_cast<double>(ns) * 1e-3);
  return text;
}

std::string quoted(std::string_view text) { return Json(text).dump(); }

/// Ranges of one track by begin.
std::vector<RecordedRange> on_track(const TraceFile& trace, Track track) {
  std::vector<RecordedRange> ranges;
  for (const RecordedRange& range : trace.ranges)
    if (range.track == track) ranges.push_back(range);
  std::ranges::stable_sort(ranges, {}, &RecordedRange::begin_ns);
  return ranges;
}

/// For each range the first lane that is free: ranges of one thread must not overlap.
std::vector<size_t> lanes_of(const std::vector<RecordedRange>& ordered) {
  std::vector<size_t> lanes;
  std::vector<int64_t> free_from;
  for (const RecordedRange& range : ordered) {
    const auto free = std::ranges::find_if(free_from, [&](int64_t end) { return end <= range.begin_ns; });
    lanes.push_back(static_cast<size_t>(free - free_from.begin()));
    if (free == free_from.end())
      free_from.push_back(range.end_ns);
    else
      *free = range.end_ns;
  }
  return lanes;
}

}  // namespace

MergedTrace::MergedTrace(std::ostream& out) : out_(out) { out_ << "{\"traceEvents\":["; }

void MergedTrace::finish() { out_ << "\n]}\n"; }

void MergedTrace::event(const std::string& json) {
  out_ << (first_ ? "\n" : ",\n") << json;
  first_ = false;
}

void MergedTrace::name_tracks(const TraceHeader& header, size_t lanes) {
  const auto name = [&](const char* kind, int thread, const std::string& arguments) {
    event(str("{\"name\":\"", kind, "\",\"ph\":\"M\",\"pid\":", header.rank, ",\"tid\":", thread,
              ",\"args\":{", arguments, "}}"));
  };
  const auto name_thread = [&](int thread, const std::string& text) {
    name("thread_name", thread, str("\"name\":\"", text, "\""));
    name("thread_sort_index", thread, str("\"sort_index\":", thread));
  };
  name("process_name", kSteps, str("\"name\":\"rank ", header.rank, "\""));
  name("process_sort_index", kSteps, str("\"sort_index\":", header.rank));
  name_thread(kSteps, "steps");
  name_thread(kTraining, "training thread");
  for (size_t lane = 0; lane < lanes; ++lane)
    name_thread(kCommunication + static_cast<int>(lane),
                lane == 0 ? "communication" : str("communication ", lane + 1));
  name_thread(kLoader, "loader");
  name_thread(kCheckpoint, "checkpoint");
}

void MergedTrace::add_range(const RecordedRange& range, int rank, int thread, const std::string& arguments) {
  event(str("{\"name\":", quoted(range.name), ",\"ph\":\"X\",\"pid\":", rank, ",\"tid\":", thread, ",\"ts\":",
            microseconds(range.begin_ns), ",\"dur\":", microseconds(range.end_ns - range.begin_ns),
            arguments.empty() ? "" : ",\"args\":{" + arguments + "}", "}"));
}

void MergedTrace::add_arrow(const RecordedRange& range, const TraceHeader& header, int thread, int64_t step,
                            int64_t index) {
  if (header.ranks == 1) return;
  const char* kind = header.rank == 0 ? "s" : header.rank + 1 < header.ranks ? "t" : "f";
  event(str("{\"name\":\"collective\",\"cat\":\"collective\",\"ph\":\"", kind, "\",\"bp\":\"e\",\"id\":\"",
            step, ".", index, "\",\"pid\":", header.rank, ",\"tid\":", thread,
            ",\"ts\":", microseconds(range.begin_ns), "}"));
}

void MergedTrace::add(const TraceFile& trace) {
  const TraceHeader& header = trace.header;
  const std::vector<RecordedRange> messages = on_track(trace, Track::communication);
  const std::vector<size_t> lanes = lanes_of(messages);
  name_tracks(header, lanes.empty() ? 1 : 1 + *std::ranges::max_element(lanes));

  std::vector<RecordedRange> steps;
  for (const RecordedRange& range : on_track(trace, Track::compute)) {
    const bool is_step = range.name == "step";
    if (is_step) steps.push_back(range);
    add_range(range, header.rank, is_step ? kSteps : kTraining,
              is_step            ? str("\"number\":", range.number)
              : range.bytes >= 0 ? str("\"bytes\":", range.bytes)
                                 : "");
  }
  for (const RecordedRange& range : on_track(trace, Track::loader))
    add_range(range, header.rank, kLoader, "");
  for (const RecordedRange& range : on_track(trace, Track::checkpoint))
    add_range(range, header.rank, kCheckpoint, "");

  // Every rank starts the same collectives in the same order, so that the number in the step tells them apart.
  auto step = steps.begin();
  int64_t index = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    const int thread = kCommunication + static_cast<int>(lanes[i]);
    while (step != steps.end() && step->end_ns <= messages[i].begin_ns) ++step, index = 0;
    const bool linked = step != steps.end() && step->begin_ns <= messages[i].begin_ns &&
                        step->begin_ns >= trace.complete_from_ns();
    add_range(messages[i], header.rank, thread,
              linked ? str("\"step\":", step->number, ",\"collective\":", index) : "");
    if (linked) add_arrow(messages[i], header, thread, step->number, index++);
  }
}

}  // namespace tessera
