#pragma once
// How tests steer the simulated device.  A program that knows nothing of it is steered by the environment:
//
//   SIMULATED_GPU_CHECK     1 (default) all checkers, 0 none (faster)
//   SIMULATED_GPU_SEED      of every random choice; default 1
//   SIMULATED_GPU_SCHEDULE  random (default), eager, starve:K (stream K runs only when nothing else can)
//   SIMULATED_GPU_LANES     together (default), independent
//   SIMULATED_GPU_DEVICE    a100, h100 (default), b200: limits of the device
//   SIMULATED_GPU_COUNT     devices per process, default 1
//   SIMULATED_GPU_MEMORY    bytes per device; default 1 GiB
//   SIMULATED_GPU_FAIL      malloc:N, launch:N, copy:N, collective:N, joined by commas: the N-th call
//                           from now returns an error; matrix products are launches, memsets are copies
//   SIMULATED_GPU_WATCHDOG  seconds without progress after which a wait for other processes ends with an
//                           error; default 60
//   SIMULATED_GPU_PROFILE   a file that gets Profile::to_json() at exit
//
// Work that the host has not waited for when the process ends is dropped.
//
// When a process ends with reports that nobody took, they are printed and its exit code is 86.

#include <cstdint>
#include <string>

#include "tests/simulated_gpu/checker/profile.h"
#include "tests/simulated_gpu/checker/report.h"

namespace simulated_gpu {

struct Options {
  bool check = true;
  uint64_t seed = 1;
  std::string schedule = "random", lanes = "together", device = "h100", fail, profile;
  int count = 1;
  uint64_t memory = uint64_t{1} << 30;
  double watchdog_seconds = 60;
};

Options options_from_environment();  ///< throws std::runtime_error naming variable and value
const Options& options();
/// Synchronises everything, then goes on under other options.  Throws std::runtime_error for a value that is
/// none, and when check, count, device or memory would change while memory is live.
void set_options(const Options& options);
Profile& profile();  ///< of the process

}  // namespace simulated_gpu
