// What a program asks and sets of a kernel: shared memory beyond 48 KiB, and how many blocks fit a
// multiprocessor.
//
// PTX has virtual registers only, so a kernel's register count is not known here: it is given as 0 and does
// not limit the occupancy.  The compiler's own table of registers is checked where the kernels are built.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/module.h"

using namespace simulated_gpu;

namespace {

constexpr int kSharedGranularity = 128;

int rounded_up(int bytes, int granularity) { return (bytes + granularity - 1) / granularity * granularity; }

/// Blocks that threads, block slots and shared memory of a multiprocessor allow.
int blocks_that_fit(const DeviceModel& model, const Function& function, int threads,
                    int dynamic_shared_bytes) {
  const int static_bytes = int(function.kernel->static_shared_bytes);
  const int shared =
      rounded_up(static_bytes + dynamic_shared_bytes + kSharedReservedPerBlock, kSharedGranularity);
  const int by_threads = kThreadsPerMultiprocessor / rounded_up(threads, 32);
  const int by_shared = model.shared_per_multiprocessor / shared;
  return std::min({kBlocksPerMultiprocessor, by_threads, by_shared});
}

cudaError_t occupancy(int* blocks, const void* host_function, int threads, size_t dynamic_shared_bytes) {
  if (!blocks || threads <= 0) return cudaErrorInvalidValue;
  const Device& device = current_device();
  const Function* function = find_function(host_function, current_device());
  if (!function) return cudaErrorInvalidDeviceFunction;
  const size_t shared = function->kernel->static_shared_bytes + dynamic_shared_bytes;
  const bool fits = threads <= kThreadsPerBlock && shared <= size_t(device.model.shared_per_block);
  *blocks = fits ? blocks_that_fit(device.model, *function, threads, int(dynamic_shared_bytes)) : 0;
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* host_function, cudaFuncAttribute attribute, int value) {
  return api_call([&] {
    Device& device = current_device();
    Function* function = find_function(host_function, device);
    if (!function) return cudaErrorInvalidDeviceFunction;
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) {
      return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;  // a hint
    }
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) {
      throw std::runtime_error("cudaFuncSetAttribute: attribute " + std::to_string(attribute) +
                               " is not simulated");
    }
    const int limit = device.model.shared_per_block - int(function->kernel->static_shared_bytes);
    if (value < 0 || value > limit) return cudaErrorInvalidValue;
    function->max_dynamic_shared_bytes = value;
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* host_function) {
  return api_call([&] {
    if (!attributes) return cudaErrorInvalidValue;
    const Function* function = find_function(host_function, current_device());
    if (!function) return cudaErrorInvalidDeviceFunction;
    const ptx::Kernel& kernel = *function->kernel;
    *attributes = {};
    attributes->sharedSizeBytes = kernel.static_shared_bytes;
    attributes->localSizeBytes = kernel.local_bytes;
    attributes->maxThreadsPerBlock = kernel.max_threads ? int(kernel.max_threads) : kThreadsPerBlock;
    attributes->ptxVersion = kernel.module->target;
    attributes->binaryVersion = current_device().model.major * 10 + current_device().model.minor;
    attributes->maxDynamicSharedSizeBytes = function->max_dynamic_shared_bytes;
    attributes->preferredShmemCarveout = -1;
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                          size_t dynamic_shared_bytes) {
  return api_call([&] { return occupancy(blocks, function, threads, dynamic_shared_bytes); });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function,
                                                                   int threads, size_t dynamic_shared_bytes,
                                                                   unsigned flags) {
  return api_call([&] {
    if (flags & ~unsigned{cudaOccupancyDisableCachingOverride}) return cudaErrorInvalidValue;
    return occupancy(blocks, function, threads, dynamic_shared_bytes);
  });
}

}  // extern "C"
