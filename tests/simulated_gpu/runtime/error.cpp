#include "tests/simulated_gpu/runtime/error.h"

#include "tests/simulated_gpu/runtime/device.h"

namespace simulated_gpu {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int host_function_depth = 0;

}  // namespace

std::mutex& process_mutex() {
  // Never destroyed: static destructors of the program still call CUDA.
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}

cudaError_t remember(cudaError_t code) {
  if (code != cudaSuccess) last_error = code;
  return code;
}

cudaError_t sticky_error() {
  if (device_count() == 0) return cudaErrorNoDevice;
  for (const Device* device : devices_in_use()) {
    if (device->index == current_device_index()) return device->sticky;
  }
  return cudaSuccess;
}

bool in_host_function() { return host_function_depth > 0; }
HostFunctionScope::HostFunctionScope() { ++host_function_depth; }
HostFunctionScope::~HostFunctionScope() { --host_function_depth; }

}  // namespace simulated_gpu

using namespace simulated_gpu;

extern "C" {

cudaError_t cudaGetLastError() {
  const std::lock_guard lock(process_mutex());
  const cudaError_t result = sticky_error() ? sticky_error() : last_error;
  last_error = cudaSuccess;
  return result;
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(process_mutex());
  return sticky_error() ? sticky_error() : last_error;
}

}  // extern "C"
