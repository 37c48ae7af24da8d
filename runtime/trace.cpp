#include "runtime/trace.h"

#include <chrono>
#include <cstdio>
#include <fstream>

#include "runtime/error.h"

namespace tessera {

int64_t Trace::now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Trace::record(const char* name, int64_t begin_ns, int64_t end_ns) {
  events_[static_cast<size_t>(recorded_++ % kCapacity)] = {name, begin_ns, end_ns};
}

std::map<std::string, int64_t> Trace::totals() const {
  std::map<std::string, int64_t> totals;
  for (int64_t i = oldest(); i < recorded_; ++i) {
    const Event& event = events_[static_cast<size_t>(i % kCapacity)];
    totals[event.name] += event.end_ns - event.begin_ns;
  }
  return totals;
}

void Trace::write(const std::string& path, int rank) const {
  std::ofstream out(path);
  out << "{\"traceEvents\":[";
  const int64_t first = oldest();
  for (int64_t i = first; i < recorded_; ++i) {
    const Event& event = events_[static_cast<size_t>(i % kCapacity)];
    char line[256];
    std::snprintf(line, sizeof line,
                  "%s\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":%d,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f}",
                  i == first ? "" : ",", event.name, rank, static_cast<double>(event.begin_ns) * 1e-3,
                  static_cast<double>(event.end_ns - event.begin_ns) * 1e-3);
    out << line;
  }
  out << "\n]}\n";
  out.close();
  TESSERA_CHECK(out, "trace: cannot write ", path);
}

}  // namespace tessera
