// Attributes of the default memory pool, the only one of a device.
#include <cstring>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/stream.h"

using namespace simulated_gpu;

namespace {

cudaMemPool_t handle_of(Device& device) { return reinterpret_cast<cudaMemPool_t>(&device.pool); }

MemoryPool* pool_of(cudaMemPool_t handle) {
  for (Device* device : devices_in_use()) {
    if (handle_of(*device) == handle) return &device->pool;
  }
  return nullptr;
}

cudaError_t pool_of_device(cudaMemPool_t* pool, int index) {
  if (!pool) return cudaErrorInvalidValue;
  if (index < 0 || index >= device_count()) return cudaErrorInvalidDevice;
  *pool = handle_of(device(index));
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int index) {
  return api_call([&] { return pool_of_device(pool, index); });
}

cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int index) {
  return api_call([&] { return pool_of_device(pool, index); });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t handle, cudaMemPoolAttr attribute, void* value) {
  return api_call([&] {
    MemoryPool* pool = pool_of(handle);
    if (!pool || !value) return cudaErrorInvalidValue;
    if (attribute != cudaMemPoolAttrReleaseThreshold) {
      throw std::runtime_error("cudaMemPoolSetAttribute: attribute " + std::to_string(attribute) +
                               " is not simulated");
    }
    std::memcpy(&pool->release_threshold, value, sizeof pool->release_threshold);
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t handle, cudaMemPoolAttr attribute, void* value) {
  return api_call([&] {
    const MemoryPool* pool = pool_of(handle);
    if (!pool || !value) return cudaErrorInvalidValue;
    uint64_t result = 0;
    if (attribute == cudaMemPoolAttrReleaseThreshold) {
      result = pool->release_threshold;
    } else if (attribute == cudaMemPoolAttrReservedMemCurrent) {
      result = pool->reserved();
    } else if (attribute == cudaMemPoolAttrUsedMemCurrent) {
      result = pool->used();
    } else {
      throw std::runtime_error("cudaMemPoolGetAttribute: attribute " + std::to_string(attribute) +
                               " is not simulated");
    }
    std::memcpy(value, &result, sizeof result);
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t handle, size_t bytes) {
  return api_call([&] {
    MemoryPool* pool = pool_of(handle);
    if (!pool) return cudaErrorInvalidValue;
    pool->trim(bytes > pool->used() ? bytes - pool->used() : 0, host_clock());
    return cudaSuccess;
  });
}

}  // extern "C"
