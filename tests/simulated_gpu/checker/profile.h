#pragma once
// Counts while kernels run: which source lines and branch outcomes were covered, how many memory transactions
// and shared bank conflicts each line caused, how many floating-point operations and bytes a launch did.

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulated_gpu/device/observer.h"

namespace simulated_gpu {

struct LaunchShape {
  uint32_t threads;       ///< per block
  uint32_t shared_bytes;  ///< per block, static and dynamic
  auto operator<=>(const LaunchShape&) const = default;
};

/// Memory traffic, summed over warp-level accesses.
struct Traffic {
  uint64_t global_requested_bytes = 0;  ///< by lanes
  uint64_t global_sectors = 0;  ///< 32-byte sectors moved: coalescing efficiency = requested / (32 sectors)
  uint64_t shared_accesses = 0, shared_conflicts = 0;  ///< and the extra cycles that banks cost them

  Traffic& operator+=(const Traffic& other);
};

struct LineProfile : Traffic {
  std::string file;
  int line = 0;
  uint64_t warp_instructions = 0;
};

/// Sums over all launches of one kernel.
struct KernelProfile : Traffic {
  std::string symbol, kernel;  ///< mangled and demangled
  uint64_t launches = 0, warp_instructions = 0, thread_instructions = 0;
  uint64_t flops = 0;  ///< multiply-add counts two; tensor-core instructions by their shape; flops.h
  /// Distinct bytes that each launch read and wrote, whatever the order: the least traffic that could do.
  uint64_t global_unique_bytes_read = 0, global_unique_bytes_written = 0;
  std::vector<LaunchShape> launch_shapes;  ///< the distinct ones
  std::vector<LineProfile> lines;          ///< that were executed
};

struct SourceCoverage {
  std::string file;
  std::vector<int> executed_lines, missed_lines;  ///< lines that hold device code
  /// Lines whose conditional branches were executed, but by no thread in one of the two directions.
  std::vector<int> one_way_branch_lines;
};

class Profile {
 public:
  Profile();
  ~Profile();
  /// So that kernels that never ran count as missed.  The module outlives the launches of its kernels.
  void add_module(const ptx::Module& module);
  /// Listens to one launch.  The profile outlives it.
  std::unique_ptr<Observer> watch_launch();
  std::vector<KernelProfile> kernels() const;    ///< that were launched, by name
  std::vector<SourceCoverage> coverage() const;  ///< by file; a line counts once however many kernels hold it
  /// {"kernels": [KernelProfile ...], "sources": [SourceCoverage ...]}
  std::string to_json() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace simulated_gpu
