#pragma once
// Tells a checker about launches that never were: each test plays the executor and sends the events itself.

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulated_gpu/checker/global_shadow.h"
#include "tests/simulated_gpu/checker/operation.h"
#include "tests/simulated_gpu/checker/report.h"
#include "tests/simulated_gpu/memory/arena.h"

namespace simulated_gpu {

inline constexpr uint32_t kAllLanes = 0xffffffff;

/// Operations of timelines (0 is the host), each after the one before it on its timeline and after those
/// named.
class Timelines {
 public:
  OperationPointer next(int timeline, const std::string& name,
                        const std::vector<OperationPointer>& after = {});

 private:
  std::map<int, VectorClock> clocks_;
};

/// A module with one kernel of as many instructions as a test wants, on lines 1, 2, ... of a.cu.
class SomeKernel {
 public:
  explicit SomeKernel(int instructions);
  const ptx::Module& module() const { return module_; }
  const ptx::Kernel& kernel() const { return module_.kernels.begin()->second; }
  const ptx::Instruction& at(int index) const { return kernel().code[static_cast<size_t>(index)]; }
  ptx::Kernel& change() { return module_.kernels.begin()->second; }

 private:
  ptx::Module module_;
};

/// The events of one launch, in the order in which a test says them.  Block 0 has begun.
class DrivenLaunch {
 public:
  using AddressOfLane = std::function<uint64_t(int lane)>;

  DrivenLaunch(std::unique_ptr<Observer> observer, const SomeKernel& kernel, uint32_t blocks,
               uint32_t threads, uint32_t shared_bytes = 0);
  ~DrivenLaunch();

  void block(uint32_t index);  ///< ends the one before
  uint32_t global(int instruction, AccessKind kind, int warp, uint32_t mask, uint32_t bytes,
                  const AddressOfLane&);
  uint32_t shared(int instruction, AccessKind kind, int warp, uint32_t mask, uint32_t bytes,
                  const AddressOfLane&);
  uint32_t access(int instruction, ptx::Space space, AccessKind kind, int warp, uint32_t mask, uint32_t bytes,
                  const AddressOfLane&, bool is_asynchronous = false);
  void barrier();                                ///< of the whole block
  void barrier_of(std::vector<uint32_t> warps);  ///< one mask per warp
  void warp_synchronises(int warp, uint32_t mask = kAllLanes) { observer_->warp_synchronises(warp, mask); }
  void fence(int warp, uint32_t mask) { observer_->fences(warp, mask, true); }
  Observer& observer() { return *observer_; }

 private:
  void begin_block(uint32_t index);

  const SomeKernel& kernel_;
  std::unique_ptr<Observer> observer_;
  LaunchInfo info_;
};

/// Reports as "kind: text", and an empty list of them afterwards.
std::vector<std::string> taken_reports();

/// Plays the events with and without the thing that makes them legal: no report, and this one.
void expect_needed(const std::function<void(bool is_there)>& play, const std::string& report);

}  // namespace simulated_gpu
