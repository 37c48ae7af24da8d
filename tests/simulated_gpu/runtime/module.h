#pragma once
// Modules: the PTX that nvcc embedded in the program's objects, parsed for each device that uses it.

#include <cuda_runtime_api.h>

#include <string>

#include "tests/simulated_gpu/ptx/module.h"
#include "tests/simulated_gpu/runtime/device.h"

namespace simulated_gpu {

/// A kernel as one device sees it, with what the program set for it.
struct Function {
  const ptx::Kernel* kernel;
  std::string name;  ///< demangled
  int max_dynamic_shared_bytes;
};

/// What the address that nvcc's host code registered stands for: a kernel on the device.  Null when nothing
/// was registered there.  Throws std::runtime_error for PTX that is not understood, or when no embedded PTX
/// is for the device or below.
Function* find_function(const void* host_function, Device& device);
/// A __device__ or __constant__ variable, with its address on the device; null when unknown.
const ptx::Variable* find_variable(const void* host_variable, Device& device);

/// Tells the profile of code that nothing was launched from, so that its lines count as missed.
void profile_unused_modules();

/// Forgets what was parsed for the device.
void remove_modules(const Device& device);

}  // namespace simulated_gpu
