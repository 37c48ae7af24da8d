#pragma once
// Which accesses of which threads a thread of a block is known to come after: vector clocks that join at
// barriers (between the warps of a block) and at warp synchronisations (between the lanes of a warp).
//
// Time is one counter for the launch.  It moves on at every synchronisation, so a time says between which two
// of them of its warp an access lies.  Times never repeat, so what was known in an earlier block covers
// nothing in this one.

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace simulated_gpu {

/// What up to 32 members know of each other.
class MeetingClock {
 public:
  using Row = std::array<uint32_t, 32>;  ///< by member: the time up to which its accesses are known

  /// Everything the members did up to now becomes known to all of them, with all that any of them knew.
  void meet(uint32_t members, uint32_t now);
  const Row& known_to(int member) const { return known_[member]; }

 private:
  std::array<Row, 32> known_{};
};

/// Threads are numbered within their block: 32 warp + lane.
class ThreadClocks {
 public:
  explicit ThreadClocks(int threads) : lanes_(static_cast<size_t>((threads + 31) / 32)) {}

  uint32_t now() const { return now_; }
  int warps() const { return static_cast<int>(lanes_.size()); }
  /// Accesses from here on are later than those so far.
  void advance() { ++now_; }
  void barrier(uint32_t warps);
  void warp_synchronises(int warp, uint32_t lanes);

  /// The time up to which accesses of the thread come before what the observer does next.
  uint32_t known(int observer, int thread) const {
    if (observer == thread) return now_;
    const uint32_t by_barrier = warps_.known_to(observer / 32)[thread / 32];
    if (observer / 32 != thread / 32) return by_barrier;
    const uint32_t by_warp = lanes_[observer / 32].known_to(observer % 32)[thread % 32];
    return by_barrier > by_warp ? by_barrier : by_warp;
  }

  /// known() of one observer, kept.
  struct Snapshot {
    int observer = 0;
    uint32_t taken = 0;
    MeetingClock::Row warps{}, lanes{};

    uint32_t known(int thread) const;
  };
  Snapshot snapshot(int observer) const;

 private:
  uint32_t now_ = 1;
  MeetingClock warps_;
  std::vector<MeetingClock> lanes_;  ///< by warp
};

}  // namespace simulated_gpu
