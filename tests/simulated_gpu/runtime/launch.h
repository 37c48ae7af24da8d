#pragma once
// Kernel launches: checked against the device's limits when they are called, executed when their stream comes
// to them.

#include <cuda_runtime_api.h>

#include <cstddef>

#include "tests/simulated_gpu/runtime/module.h"

namespace simulated_gpu {

struct LaunchConfiguration {
  dim3 grid, block;
  size_t dynamic_shared_bytes;
};

/// What the real call returns for a shape that the device or the kernel does not allow.
cudaError_t check_shape(const LaunchConfiguration& shape, const Function& function, const Device& device);

}  // namespace simulated_gpu
