#include "runtime/trace.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "runtime/error.h"
#include "runtime/json.h"
#include "runtime/replace_file.h"

namespace tessera {

int64_t Trace::now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Trace::record(const char* name, int64_t begin_ns, int64_t end_ns, Track track, int64_t number,
                   int64_t bytes) {
  std::lock_guard hold(lock_);
  events_[static_cast<size_t>(recorded_++ % kCapacity)] = {name, begin_ns, end_ns, number, bytes, track};
}

const char* Trace::keep(const std::string& name) {
  std::lock_guard hold(lock_);
  return kept_.insert(name).first->c_str();
}

std::map<std::string, RangeTotal> Trace::totals(Track track) const {
  std::lock_guard hold(lock_);
  std::map<std::string, RangeTotal> totals;
  std::vector<const Event*> ended;  // those that no later range has been found to contain
  for (int64_t i = oldest(); i < recorded_; ++i) {
    const Event& event = events_[static_cast<size_t>(i % kCapacity)];
    if (event.track != track) continue;
    int64_t inside = 0;
    for (; !ended.empty() && ended.back()->begin_ns >= event.begin_ns; ended.pop_back())
      inside += ended.back()->end_ns - ended.back()->begin_ns;
    ended.push_back(&event);
    RangeTotal& total = totals[event.name];
    total.ns += event.end_ns - event.begin_ns;
    total.own_ns += event.end_ns - event.begin_ns - inside;
    ++total.calls;
    total.bytes += std::max<int64_t>(0, event.bytes);
  }
  return totals;
}

void Trace::write(const std::string& path, const TraceHeader& header) const {
  std::lock_guard hold(lock_);
  const int64_t first = oldest();
  replace_file(path, [&](std::ostream& out) {
    out << str("{\"tessera\":{\"rank\":", header.rank, ",\"ranks\":", header.ranks,
               ",\"started_ns\":", header.started_ns, ",\"lost\":", first, ",\"clock\":[");
    for (const ClockPoint& point : header.clock)
      out << str(&point == header.clock.data() ? "" : ",", "{\"at_ns\":", point.at_ns,
                 ",\"offset_ns\":", point.offset_ns, ",\"round_trip_ns\":", point.round_trip_ns, "}");
    out << "]},\n\"traceEvents\":[";
    for (int64_t i = first; i < recorded_; ++i) {
      const Event& event = events_[static_cast<size_t>(i % kCapacity)];
      char times[96];
      std::snprintf(times, sizeof times, "\"ts\":%.3f,\"dur\":%.3f",
                    static_cast<double>(event.begin_ns) * 1e-3,
                    static_cast<double>(event.end_ns - event.begin_ns) * 1e-3);
      out << str(i == first ? "\n" : ",\n", "{\"name\":", Json(event.name).dump(),
                 ",\"ph\":\"X\",\"pid\":", header.rank, ",\"tid\":", static_cast<int>(event.track), ",",
                 times);
      if (event.number >= 0) out << str(",\"args\":{\"number\":", event.number, "}");
      if (event.bytes >= 0) out << str(",\"args\":{\"bytes\":", event.bytes, "}");
      out << "}";
    }
    out << "\n]}\n";
  });
}

}  // namespace tessera
