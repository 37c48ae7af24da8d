#include <algorithm>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/scheduler.h"
#include "tests/simulated_gpu/runtime/stream.h"

using namespace simulated_gpu;

namespace {

constexpr int kLowestPriority = 0, kHighestPriority = -5;

}  // namespace

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return api_call([&] {
    if (!stream || (flags & ~unsigned{cudaStreamNonBlocking})) return cudaErrorInvalidValue;
    *stream = &add_stream(current_device(), flags, std::clamp(priority, kHighestPriority, kLowestPriority));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, kLowestPriority);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return query_call([&] {
    if (handle == nullptr || handle == cudaStreamLegacy) return cudaErrorInvalidResourceHandle;
    CUstream_st* stream = stream_of(handle, "cudaStreamDestroy");
    if (!stream) return cudaErrorInvalidResourceHandle;
    stream->is_destroyed = true;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return api_call([&] {
    CUstream_st* stream = stream_of(handle, "cudaStreamSynchronize");
    if (!stream) return cudaErrorInvalidResourceHandle;
    synchronise(*stream);
    return stream->device.sticky;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return api_call([&] {
    CUstream_st* stream = stream_of(handle, "cudaStreamQuery");
    if (!stream) return cudaErrorInvalidResourceHandle;
    run_one();
    if (stream->device.sticky) return stream->device.sticky;
    if (!stream->tasks.empty()) return cudaErrorNotReady;
    host_reaches(stream->clock, stream->time);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return query_call([&] {
    CUstream_st* stream = stream_of(handle, "cudaStreamGetPriority");
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (!priority) return cudaErrorInvalidValue;
    *priority = stream->priority;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  return query_call([&] {
    CUstream_st* stream = stream_of(handle, "cudaStreamGetFlags");
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (!flags) return cudaErrorInvalidValue;
    *flags = stream->flags;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  return query_call([&] {
    CUstream_st* stream = stream_of(handle, "cudaStreamGetDevice");
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (!device) return cudaErrorInvalidValue;
    *device = stream->device.index;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* lowest, int* highest) {
  return query_call([&] {
    if (lowest) *lowest = kLowestPriority;
    if (highest) *highest = kHighestPriority;
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return api_call([&] {
    CUstream_st* stream = stream_of(handle, "cudaLaunchHostFunc");
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (!function) return cudaErrorInvalidValue;
    enqueue_work(*stream, next_operation(*stream, "cudaLaunchHostFunc"), [function, data] {
      const HostFunctionScope scope;
      function(data);
    });
    return cudaSuccess;
  });
}

}  // extern "C"
