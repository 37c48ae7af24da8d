#pragma once
// Named time ranges of one rank, in a ring of fixed size, written as Chrome trace JSON (opens in Perfetto).

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tessera {

class Trace {
 public:
  static constexpr int64_t kCapacity = 1 << 18;  ///< events kept; older ones are overwritten

  void start() { events_.resize(static_cast<size_t>(kCapacity)); }  ///< until then nothing is recorded
  bool running() const { return !events_.empty(); }

  /// name must outlive the trace (a literal).
  void record(const char* name, int64_t begin_ns, int64_t end_ns);
  /// Nanoseconds by name, of the ranges that are still kept.
  std::map<std::string, int64_t> totals() const;
  /// One "complete" event per range, process id = rank.  Throws Error when the file cannot be written.
  void write(const std::string& path, int rank) const;

  static int64_t now_ns();  ///< monotonic

 private:
  struct Event {
    const char* name;
    int64_t begin_ns, end_ns;
  };
  int64_t oldest() const { return std::max<int64_t>(0, recorded_ - kCapacity); }

  std::vector<Event> events_;
  int64_t recorded_ = 0;
};

/// Records its own lifetime.
class [[nodiscard]] TraceRange {
 public:
  TraceRange(Trace& trace, const char* name)
      : trace_(trace), name_(name), begin_ns_(trace.running() ? Trace::now_ns() : 0) {}
  ~TraceRange() {
    if (begin_ns_) trace_.record(name_, begin_ns_, Trace::now_ns());
  }
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;

 private:
  Trace& trace_;
  const char* name_;
  int64_t begin_ns_;
};

}  // namespace tessera
