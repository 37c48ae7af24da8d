#pragma once
// Order between the blocks of one launch.  Only this makes it: a thread fences (device scope), then an atomic
// on some location; a thread of another block comes later with an atomic on the same location.  What was
// before the fence is then before what comes after the second atomic.  ("The last block reduces" is built on
// it.)
// Source: PTX ISA 9.0, chapter 8, release and acquire patterns; a fence after the second atomic is not asked
// for, as in NVIDIA's threadFenceReduction sample.
//
// A fence also counts for what other threads of the block did, when a barrier or warp synchronisation lies
// between them and the fence, and for an atomic of another thread, when one lies between the fence and the
// atomic.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tests/simulated_gpu/checker/thread_clocks.h"

namespace simulated_gpu {

class BlockOrder {
 public:
  void block_begins(uint32_t block, int threads);
  void fence(int thread, const ThreadClocks& clocks);
  void atomic(uint64_t address, int thread, const ThreadClocks& clocks);
  /// False when nothing at all is ordered before the running block by atomics.
  bool has_acquired() const { return !acquisitions_.empty(); }
  /// True when an access that a thread of an earlier block made at that time comes before what the observer,
  /// in the running block, does next.
  bool is_ordered(uint32_t block, int thread, uint32_t time, int observer, const ThreadClocks& clocks) const;

 private:
  struct Location;
  /// A thread has seen the first `releases` of a location.
  struct Acquisition {
    const Location* location;
    size_t releases;
    int thread;
    uint32_t time;
  };
  /// What one block made visible through one location.
  struct Release {
    uint32_t block;
    std::vector<uint32_t> until;       ///< by thread: accesses up to that time
    std::vector<Acquisition> through;  ///< other locations whose releases came before it
  };
  struct Location {
    std::vector<Release> releases;
    std::unordered_map<uint32_t, size_t> of_block;  ///< index into releases
  };
  struct Fence {
    ThreadClocks::Snapshot known;
    bool is_set = false;
  };

  void release(Location& location, int thread, const ThreadClocks& clocks);

  uint32_t block_ = 0;
  std::unordered_map<uint64_t, Location> locations_;
  // Of the running block:
  bool has_fenced_ = false;
  std::vector<Fence> fences_;  ///< by thread, its latest
  std::vector<Acquisition> acquisitions_;
};

}  // namespace simulated_gpu
