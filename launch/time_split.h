#pragma once
// Where the time of training steps goes.

#include <array>
#include <map>

#include "launch/trace_file.h"

namespace tessera {

/// What the training thread does at a moment.  From gather to other it waits for messages or starts them: communication that
/// computation does not hide.
enum class Part : uint8_t {
  compute,     ///< kernels
  optimizer,   ///< AdamW and the gradient norm
  gather,      ///< parameters of a shard group
  gradients,   ///< exchanged inside a shard group
  dispatch,    ///< rows to experts
  combine,     ///< rows back from experts
  replicas,    ///< gradients exchanged between replicas
  other,       ///< every other collective: norms, statistics, agreements
  loader,      ///< waiting for a micro-batch
  checkpoint,  ///< saving, as long as training waits for it
  idle,        ///< nothing is traced: host work between kernels, metrics, or nothing at all
};
inline constexpr std::array kParts{Part::compute,  Part::optimizer,  Part::gather,   Part::gradients,
                                   Part::dispatch, Part::combine,    Part::replicas, Part::other,
                                   Part::loader,   Part::checkpoint, Part::idle};
const char* name_of(Part part);  ///< as the enumerator
constexpr bool is_communication(Part part) { return Part::gather <= part && part <= Part::other; }

/// Nanoseconds of one rank in one or more steps.
struct TimeSplit {
  std::array<int64_t, kParts.size()> ns{};  ///< by part; they sum to the length of the steps
  std::array<int64_t, kParts.size()>
      overlapped_ns{};               ///< by part: its messages under way while the thread computes
  int64_t overlapped_by_any_ns = 0;  ///< the same for messages of any part
  int64_t steps = 0;

  int64_t of(Part part) const { return ns[static_cast<size_t>(part)]; }
  int64_t overlapped_of(Part part) const { return overlapped_ns[static_cast<size_t>(part)]; }
  int64_t total() const;
  TimeSplit& operator+=(const TimeSplit& more);
};

/// The split of every step that lost no ranges, by number.  A moment belongs to the innermost range around it; a collective
/// belongs to the communication, loader or checkpoint range around it, else to other.  Messages count as under way from the
/// start of a collective until its wait is over, also when they have arrived before.
std::map<int64_t, TimeSplit> split_steps(const TraceFile& trace);

}  // namespace tessera
