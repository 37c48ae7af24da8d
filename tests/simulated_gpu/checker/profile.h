#pragma once
// Counts while kernels run: which source lines and branch outcomes were covered, how many memory transactions and shared
// bank conflicts each instruction caused, how many floating-point operations and bytes a launch did.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulated_gpu/device/observer.h"

namespace simulated_gpu {

/// Sums over all launches of one kernel.
struct KernelProfile {
  std::string kernel;  ///< demangled
  uint64_t launches = 0, warp_instructions = 0, thread_instructions = 0;
  uint64_t flops = 0;                   ///< multiply-add counts two; tensor-core instructions by their shape
  uint64_t global_requested_bytes = 0;  ///< by lanes
  uint64_t global_sectors = 0;  ///< 32-byte sectors moved: coalescing efficiency = requested / (32 sectors)
  uint64_t shared_accesses = 0,
           shared_conflicts = 0;  ///< warp-level accesses and the extra cycles that banks cost them
};

struct SourceCoverage {
  std::string file;
  std::vector<int> executed_lines, missed_lines;  ///< lines that hold device code
};

class Profile {
 public:
  Profile();
  ~Profile();
  void add_module(const ptx::Module& module);  ///< so that kernels that never ran count as missed
  std::unique_ptr<Observer> watch_launch();
  std::vector<KernelProfile> kernels() const;
  std::vector<SourceCoverage> coverage() const;
  std::string to_json() const;  ///< both, one document

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace simulated_gpu
