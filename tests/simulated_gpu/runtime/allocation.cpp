#include <cstring>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/fault.h"
#include "tests/simulated_gpu/runtime/pinned.h"
#include "tests/simulated_gpu/runtime/stream.h"

using namespace simulated_gpu;

namespace {

/// A plain block freed by the host.  As the real call does, waits for all work of the device.
cudaError_t free_block(Device& device, uint64_t address) {
  synchronise_device(device);
  const auto block = device.memory.find(address);
  if (!block || block->address != address) return cudaErrorInvalidValue;
  device.released(address, block->bytes, host_operation("cudaFree"));
  device.memory.release(address);
  return device.sticky;
}

/// cudaFree of a stream-ordered block: waits for nothing, the program has to.
cudaError_t free_pool_block(Device& device, uint64_t address) {
  OperationPointer release = host_operation("cudaFree");
  device.released(address, device.memory.find(address)->bytes, release);
  device.pool.give_back(address, release);
  device.pool.trim(device.pool.release_threshold, host_clock());
  return cudaSuccess;
}

cudaError_t allocate_in_stream(void** pointer, size_t bytes, cudaStream_t handle) {
  CUstream_st* stream = stream_of(handle, "cudaMallocAsync");
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (!pointer) return cudaErrorInvalidValue;
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (is_failure_due(FaultKind::malloc)) return cudaErrorMemoryAllocation;
  Device& device = stream->device;
  OperationPointer operation = next_operation(*stream, "cudaMallocAsync");
  uint64_t address = device.pool.allocate(bytes, *operation);
  if (address == 0) {
    device.pool.trim(0, host_clock());
    address = device.pool.allocate(bytes, *operation);
  }
  if (address == 0) return cudaErrorMemoryAllocation;
  enqueue_work(*stream, operation, [&device, address, bytes, operation] {
    std::memset(device.memory.at(address), 0xff, bytes);
    device.allocated(address, bytes, operation);
  });
  *pointer = reinterpret_cast<void*>(address);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return api_call([&] {
    if (!pointer) return cudaErrorInvalidValue;
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    if (is_failure_due(FaultKind::malloc)) return cudaErrorMemoryAllocation;
    Device& device = current_device();
    const uint64_t address = device.memory.allocate(bytes);
    if (address == 0) return cudaErrorMemoryAllocation;
    device.allocated(address, bytes, host_operation("cudaMalloc"));
    *pointer = reinterpret_cast<void*>(address);
    return cudaSuccess;
  });
}

cudaError_t cudaFree(void* pointer) {
  return api_call([&] {
    if (!pointer) return cudaSuccess;
    Device* device = device_of(pointer);
    if (!device) return cudaErrorInvalidValue;
    const auto address = reinterpret_cast<uint64_t>(pointer);
    return device->pool.owns(address) ? free_pool_block(*device, address) : free_block(*device, address);
  });
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  return api_call([&] { return allocate_in_stream(pointer, bytes, stream); });
}

cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  return api_call([&] {
    const CUstream_st* owner = stream_of(stream, "cudaMallocFromPoolAsync");
    if (!owner || reinterpret_cast<cudaMemPool_t>(&owner->device.pool) != pool) return cudaErrorInvalidValue;
    return allocate_in_stream(pointer, bytes, stream);
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t handle) {
  return api_call([&] {
    CUstream_st* stream = stream_of(handle, "cudaFreeAsync");
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (!pointer) return cudaSuccess;
    Device* device = device_of(pointer);
    const auto address = reinterpret_cast<uint64_t>(pointer);
    if (!device || !device->pool.owns(address)) return cudaErrorInvalidValue;
    const uint64_t bytes = device->memory.find(address)->bytes;
    OperationPointer operation = next_operation(*stream, "cudaFreeAsync");
    device->pool.give_back(address, operation);
    enqueue_work(*stream, operation,
                 [device, address, bytes, operation] { device->released(address, bytes, operation); });
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  return api_call([&] {
    if (!free_bytes || !total_bytes) return cudaErrorInvalidValue;
    const Arena& memory = current_device().memory;
    *total_bytes = memory.capacity();
    *free_bytes = memory.capacity() - memory.used();
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return query_call([&] {
    if (!attributes) return cudaErrorInvalidValue;
    *attributes = {};
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = cudaInvalidDeviceId;
    void* address = const_cast<void*>(pointer);
    Device* device = device_of(pointer);
    if (device && device->memory.find(reinterpret_cast<uint64_t>(pointer))) {
      attributes->type = cudaMemoryTypeDevice;
      attributes->device = device->index;
      attributes->devicePointer = address;
    } else if (pinned_block_of(pointer)) {
      attributes->type = cudaMemoryTypeHost;
      attributes->device = current_device_index();
      attributes->devicePointer = attributes->hostPointer = address;
    } else {
      attributes->device = -1;
      attributes->hostPointer = address;
    }
    return cudaSuccess;
  });
}

}  // extern "C"
