#pragma once
// The flight recorder: what a rank did last, in a ring of fixed size.  The ring lies in a file mapped into memory, so that it
// outlives the process whatever ends it, SIGKILL included.  runtime/flight_ring.h reads it.

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/dtype.h"

namespace tessera {

/// What a record says.  A collective is entered when it is called, and done when its result is there.
enum class FlightEvent : uint8_t { step, phase, enter, done };
enum class FlightOperation : uint8_t { none, split, all_gather, all_to_all, broadcast, barrier };
/// What the training loop is at.
enum class FlightPhase : uint8_t { setup, loader, forward, backward, optimizer, report, save };
/// How a rank left.  hang: the watchdog ended it.
enum class FlightEnd : uint32_t { none, finished, error, hang };

const char* name_of(FlightEvent event);
const char* name_of(FlightOperation operation);
const char* name_of(FlightPhase phase);
const char* name_of(FlightEnd end);

/// One record, as it lies in the file (native byte order).
struct FlightRecord {
  uint64_t index;     ///< 1, 2, ... over the life of the ring
  int64_t time_ns;    ///< steady clock
  uint64_t group;     ///< identity of the group of ranks, the same on all members; 0: no collective
  uint64_t sequence;  ///< of the collective in its group: 1, 2, ...
  int64_t count;      ///< elements that this rank gives
  int64_t result;     ///< elements that it has room for; of a broadcast: the root
  int64_t step;       ///< -1 before the first
  int32_t round;      ///< of the step
  uint8_t event, operation, phase, dtype;
  char about[88];  ///< what the collective is for; cut off, ends in 0
  uint64_t check;  ///< flight_check() of what is before it
};
static_assert(sizeof(FlightRecord) == 160);

/// A group that the rank is a member of.
struct FlightGroup {
  uint64_t id;
  uint32_t size, rank;  ///< the rank's place in the group
};

/// The first bytes of the file; records follow at kFlightHeaderBytes.
struct FlightHeader {
  static constexpr uint32_t kGroups = 64;  ///< further ones are not listed

  char magic[8];
  uint32_t version, record_bytes;
  uint32_t rank, ranks;
  uint64_t capacity;  ///< records that the ring holds
  uint64_t run;       ///< the same number in all rings of one start of a run
  int64_t pid;
  int64_t steady_base_ns, wall_base_ns;  ///< the same moment on both clocks; wall: since 1970
  int64_t watchdog_ns;                   ///< time-out of the watchdog, 0: off
  uint64_t written;                      ///< index of the latest record
  int64_t last_ns, alive_ns;             ///< steady clock: of the latest record, and of the latest heartbeat
  uint64_t inside_group, inside_sequence;  ///< the collective that the rank is in or waits for; 0: none
  int64_t inside_since_ns;                 ///< steady clock
  int64_t gap_begin_ns, gap_end_ns;        ///< steady clock: of the latest time without heartbeats
  int64_t ended_ns;                        ///< steady clock, when ended is set
  uint32_t ended;                          ///< FlightEnd
  uint32_t group_count;
  char host[64];          ///< ends in 0
  char last_words[1024];  ///< of an end by error or hang; ends in 0
  FlightGroup groups[kGroups];
};
constexpr char kFlightMagic[8] = {'T', 'S', 'R', 'F', 'L', 'G', 'H', 'T'};
constexpr uint32_t kFlightVersion = 1;
constexpr int64_t kFlightHeaderBytes = 4096;
constexpr int64_t kMissingHeartbeatNs = 500'000'000;  ///< machines that are short of cores are late
static_assert(sizeof(FlightHeader) <= kFlightHeaderBytes);

/// A hash of the record without its check.
uint64_t flight_check(const FlightRecord& record);

/// What a collective is, for its records.
struct FlightCollective {
  FlightOperation operation;
  DType dtype = DType::u8;
  uint64_t group = 0, sequence = 0;
  int64_t count = 0, result = 0;
};

/// Records are made by one thread, without waiting for anything; heartbeat(), flush() and end() are for any.
class FlightRecorder {
 public:
  /// In memory alone, until persist().  run: see FlightHeader.  Throws Error when there is no memory.
  FlightRecorder(int rank, int ranks, int64_t records, uint64_t run);
  ~FlightRecorder();
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  /// From now on the ring is path, whole from the first moment, with what was recorded so far.  Before other threads use the
  /// recorder.  Throws Error with the system's own words (full disk); nothing is left behind then.
  void persist(const std::string& path);

  void step(int64_t step);
  void round(int32_t round) { round_ = round; }  ///< part of later records
  void phase(FlightPhase phase);
  /// Counts calls of phase().
  uint64_t phases() const { return phases_; }
  void join(const FlightGroup& group);
  /// The rank is in a collective: it calls it, ...
  void enter(const FlightCollective& collective, std::string_view about);
  /// ... has come back from the call with the exchange under way, ...
  void under_way();
  /// ... waits for its result, ...
  void wait(const FlightCollective& collective);
  /// ... and has it, or has come back from a call that waits itself.
  void done(const FlightCollective& collective, std::string_view about);

  /// The process runs; due every tenth of a second.  When half a second passed without one, that is noted.
  void heartbeat();
  /// Writes the file to its disk, so that other machines see it.
  void flush();
  /// The first call counts.
  void end(FlightEnd how, std::string_view last_words);

  uint64_t written() const;
  void set_watchdog(int64_t timeout_ns) { header_->watchdog_ns = timeout_ns; }
  int ranks() const { return static_cast<int>(header_->ranks); }

 private:
  void write(FlightRecord& record, std::string_view about);
  void write(FlightEvent event, const FlightCollective& collective, std::string_view about);
  void be_inside(const FlightCollective& collective, int64_t since_ns);

  size_t bytes_;
  char* memory_;
  FlightHeader* header_;   ///< in memory_
  FlightRecord* records_;  ///< in memory_
  uint64_t written_ = 0, phases_ = 0;
  int64_t step_ = -1;
  int32_t round_ = 0;
  FlightPhase phase_ = FlightPhase::setup;
};

}  // namespace tessera
