#include "tests/simulated_gpu/runtime/launch.h"

#include <cstring>
#include <memory>
#include <vector>

#include "tests/simulated_gpu/control.h"
#include "tests/simulated_gpu/device/execute.h"
#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/fault.h"
#include "tests/simulated_gpu/runtime/observers.h"
#include "tests/simulated_gpu/runtime/scheduler.h"
#include "tests/simulated_gpu/runtime/stream.h"

namespace simulated_gpu {
namespace {

/// The arguments as the kernel's parameter block, read at the call.
std::vector<std::byte> pack(const ptx::Kernel& kernel, void** arguments) {
  std::vector<std::byte> block(kernel.parameter_bytes);
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    std::memcpy(block.data() + kernel.parameters[i].offset, arguments[i], kernel.parameters[i].bytes);
  }
  return block;
}

/// An error that ends the context, as the device's own faults do.
cudaError_t code_of(const Outcome& outcome) {
  if (outcome.kind == Outcome::Kind::finished) return cudaSuccess;
  if (outcome.kind == Outcome::Kind::deadlocked) return cudaErrorLaunchTimeout;
  return outcome.text.find("assert") != std::string::npos ? cudaErrorAssert : cudaErrorLaunchFailure;
}

void run(const Launch& launch, Device& device, const OperationPointer& operation) {
  const Schedule schedule{random_bits(), options().lanes == "independent"};
  const std::unique_ptr<Observer> observer = observer_of_launch(device, operation);
  // The program learns of a failure by the code; the checker says where it was.
  device.sticky = code_of(execute(launch, device.memory, *observer, schedule));
}

void enqueue_launch(const Function& function, const LaunchConfiguration& shape, void** arguments,
                    CUstream_st& stream) {
  OperationPointer operation = next_operation(stream, "launch " + function.name);
  Launch launch{function.kernel,
                {shape.grid.x, shape.grid.y, shape.grid.z},
                {shape.block.x, shape.block.y, shape.block.z},
                uint32_t(shape.dynamic_shared_bytes),
                {}};
  auto parameters = std::make_shared<std::vector<std::byte>>(pack(*function.kernel, arguments));
  enqueue_work(stream, operation, [launch, parameters, operation, &device = stream.device]() mutable {
    launch.parameters = *parameters;
    run(launch, device, operation);
  });
}

cudaError_t launch_kernel(const void* host_function, const LaunchConfiguration& shape, void** arguments,
                          cudaStream_t handle) {
  CUstream_st* stream = stream_of(handle, "launch");
  if (!stream || stream->device.index != current_device_index()) return cudaErrorInvalidResourceHandle;
  const Function* function = find_function(host_function, stream->device);
  if (!function) return cudaErrorInvalidDeviceFunction;
  if (const cudaError_t error = check_shape(shape, *function, stream->device)) return error;
  if (is_failure_due(FaultKind::launch)) return cudaErrorLaunchOutOfResources;
  enqueue_launch(*function, shape, arguments, *stream);
  return cudaSuccess;
}

struct PushedConfiguration {
  LaunchConfiguration shape;
  cudaStream_t stream;
};

/// <<<>>> pushes, the kernel's stub pops, on the same thread.
std::vector<PushedConfiguration>& configurations() {
  thread_local std::vector<PushedConfiguration> stack;
  return stack;
}

}  // namespace

cudaError_t check_shape(const LaunchConfiguration& shape, const Function& function, const Device& device) {
  const unsigned grid[3] = {shape.grid.x, shape.grid.y, shape.grid.z};
  const unsigned block[3] = {shape.block.x, shape.block.y, shape.block.z};
  uint64_t threads = 1;
  for (int dim = 0; dim < 3; ++dim) {
    if (grid[dim] == 0 || grid[dim] > unsigned(kGridLimits[dim])) return cudaErrorInvalidConfiguration;
    if (block[dim] == 0 || block[dim] > unsigned(kBlockLimits[dim])) return cudaErrorInvalidConfiguration;
    threads *= block[dim];
  }
  if (threads > kThreadsPerBlock) return cudaErrorInvalidConfiguration;
  const uint32_t bound = function.kernel->max_threads;
  if (bound > 0 && threads > bound) return cudaErrorInvalidValue;
  const uint64_t shared = function.kernel->static_shared_bytes + uint64_t{shape.dynamic_shared_bytes};
  if (shape.dynamic_shared_bytes > size_t(function.max_dynamic_shared_bytes) ||
      shared > uint64_t(device.model.shared_per_block)) {
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

}  // namespace simulated_gpu

using namespace simulated_gpu;

extern "C" {

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t dynamic_shared_bytes,
                                     CUstream_st* stream) {
  configurations().push_back({{grid, block, dynamic_shared_bytes}, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* dynamic_shared_bytes, void* stream) {
  if (configurations().empty()) return remember(cudaErrorMissingConfiguration);
  const PushedConfiguration top = configurations().back();
  configurations().pop_back();
  *grid = top.shape.grid;
  *block = top.shape.block;
  *dynamic_shared_bytes = top.shape.dynamic_shared_bytes;
  *static_cast<cudaStream_t*>(stream) = top.stream;
  return cudaSuccess;
}

/// The handle is the host function's address: kernels differ between devices, handles do not.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(host_function));
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             size_t dynamic_shared_bytes, cudaStream_t stream) {
  return api_call([&] {
    return launch_kernel(function, {grid, block, dynamic_shared_bytes}, arguments, stream);
  });
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t dynamic_shared_bytes, cudaStream_t stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, dynamic_shared_bytes, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* configuration, const void* function,
                                void** arguments) {
  return api_call([&] {
    if (!configuration) return cudaErrorInvalidValue;
    if (configuration->numAttrs > 0) {
      throw std::runtime_error("cudaLaunchKernelExC: launch attribute " +
                               std::to_string(configuration->attrs[0].id) + " is not simulated");
    }
    const LaunchConfiguration shape{configuration->gridDim, configuration->blockDim,
                                    configuration->dynamicSmemBytes};
    return launch_kernel(function, shape, arguments, configuration->stream);
  });
}

}  // extern "C"
