#pragma once
// What the executor tells about a launch while it runs: the checkers, coverage and traffic counts listen.

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/simulated_gpu/ptx/module.h"

namespace simulated_gpu {

enum class AccessKind : uint8_t { read, write, atomic };

/// One memory instruction of one warp.  The lanes in mask access bytes_per_lane bytes at their address
/// each.  Addresses are of the space: bytes from the start of the block's window for shared memory, device
/// addresses for global memory.
struct Access {
  const ptx::Instruction* instruction;
  ptx::Space space;  ///< global, shared, local, constant or parameter
  AccessKind kind;
  int warp;
  uint32_t mask;
  const uint64_t* addresses;  ///< 32 of them
  uint32_t bytes_per_lane;
  bool is_asynchronous = false;  ///< the read or write of a cp.async, told when it is issued
};

struct LaunchInfo {
  const ptx::Kernel* kernel;
  uint32_t grid[3], block[3];
  uint32_t shared_bytes;  ///< static and dynamic
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void launch_begins(const LaunchInfo&) {}
  virtual void launch_ends() {}
  virtual void block_begins(const uint32_t /*index*/[3]) {}
  virtual void block_ends() {}
  /// Every instruction that a warp executes, with the lanes that do (predicated-off lanes are not among
  /// them).
  virtual void executes(const ptx::Instruction&, int /*warp*/, uint32_t /*mask*/) {}
  /// Both outcomes of a conditional branch: the lanes that took it and those that did not.
  virtual void branches(const ptx::Instruction&, uint32_t /*taken*/, uint32_t /*not_taken*/) {}
  /// Before the access happens.  Returns the lanes that may perform it; others skip it and read NaN bits.
  virtual uint32_t access(const Access& access) { return access.mask; }
  /// An asynchronous copy has become visible to the issuing thread: its matching wait was passed.
  virtual void asynchronous_copy_done(int /*warp*/, int /*lane*/, uint64_t /*shared_address*/,
                                      uint32_t /*bytes*/) {}
  /// bar.sync: all threads of the block (of the named barrier's participants: `warps`, one mask each) have
  /// met.
  virtual void barrier_passes(const ptx::Instruction&, const std::vector<uint32_t>& /*warps*/) {}
  /// bar.warp.sync of the lanes in mask.
  virtual void warp_synchronises(int /*warp*/, uint32_t /*mask*/) {}
  /// membar / fence of the lanes in mask, with device scope (gpu or sys) or only block scope.
  virtual void fences(int /*warp*/, uint32_t /*mask*/, bool /*device_scope*/) {}
  /// A broken rule that only the executor sees: divergent barrier, wrong mask, deadlock, failed assert ...
  virtual void violates(const ptx::Instruction&, const char* /*rule*/, const std::string& /*text*/,
                        int /*warp*/, uint32_t /*lanes*/) {}
};

}  // namespace simulated_gpu
