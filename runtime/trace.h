#pragma once
// Named time ranges of one rank, in a ring of fixed size, written as Chrome trace JSON (opens in Perfetto).  `tessera trace`
// puts the files of all ranks on one clock (launch/trace_file.h).

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace tessera {

/// What a range belongs to: the training thread, messages under way, or a thread beside it.  Thread ids in the file.
enum class Track : uint8_t { compute, communication, loader, checkpoint };

/// This rank's clock beside that of rank 0: at at_ns of this clock rank 0's shows at_ns + offset_ns, to within half of the
/// round trip that told so (parallel/clock.h).
struct ClockPoint {
  int64_t at_ns = 0, offset_ns = 0, round_trip_ns = 0;
};

/// What a trace file says besides ranges.
struct TraceHeader {
  int rank = 0, ranks = 1;
  int64_t started_ns = 0;  ///< by rank 0's clock; the same in the files that belong together
  std::vector<ClockPoint> clock{};
};

/// All ranges of one name.
struct RangeTotal {
  int64_t ns = 0, own_ns = 0;  ///< with and without the ranges inside of them
  int64_t bytes = 0, calls = 0;
};

class Trace {
 public:
  static constexpr int64_t kCapacity = 1 << 18;  ///< events kept; older ones are overwritten

  /// Until then nothing is recorded.  Before threads of this rank record.
  void start() { events_.resize(static_cast<size_t>(kCapacity)); }
  bool running() const { return !events_.empty(); }

  /// name must outlive the trace (a literal, or of keep()).  number: of a step; bytes: what a kernel reads and writes at
  /// least; -1 for none.  From any thread of the rank.
  void record(const char* name, int64_t begin_ns, int64_t end_ns, Track track = Track::compute,
              int64_t number = -1, int64_t bytes = -1);
  /// name for record(), which then need not outlive the trace.  For a bounded number of names.
  const char* keep(const std::string& name);
  /// By name, of the ranges of a track that are still kept.
  std::map<std::string, RangeTotal> totals(Track track = Track::compute) const;
  /// The header and how many ranges were overwritten under "tessera", then one "complete" event per range in the order of
  /// their ends; process id = rank, thread id = track.  As replace_file does (runtime/replace_file.h).
  void write(const std::string& path, const TraceHeader& header) const;

  static int64_t now_ns();  ///< monotonic

 private:
  struct Event {
    const char* name;
    int64_t begin_ns, end_ns, number, bytes;
    Track track;
  };
  int64_t oldest() const { return std::max<int64_t>(0, recorded_ - kCapacity); }

  mutable std::mutex lock_;
  std::vector<Event> events_;   ///< guarded by lock_ but for its size
  int64_t recorded_ = 0;        ///< guarded by lock_
  std::set<std::string> kept_;  ///< guarded by lock_
};

/// Records its own lifetime.
class [[nodiscard]] TraceRange {
 public:
  TraceRange(Trace& trace, const char* name, Track track = Track::compute, int64_t number = -1,
             int64_t bytes = -1)
      : trace_(trace),
        name_(name),
        begin_ns_(trace.running() ? Trace::now_ns() : 0),
        number_(number),
        bytes_(bytes),
        track_(track) {}
  ~TraceRange() {
    if (begin_ns_) trace_.record(name_, begin_ns_, Trace::now_ns(), track_, number_, bytes_);
  }
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;

 private:
  Trace& trace_;
  const char* name_;
  int64_t begin_ns_, number_, bytes_;
  Track track_;
};

}  // namespace tessera
