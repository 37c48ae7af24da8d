#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "tests/simulated_gpu/runtime/device.h"
#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/reset.h"
#include "tests/simulated_gpu/runtime/stream.h"

using namespace simulated_gpu;

namespace {

bool is_device(int index) { return index >= 0 && index < device_count(); }

/// Attributes that need no device to be made.  Throws std::runtime_error for one that is not simulated.
int attribute_of(const DeviceModel& model, cudaDeviceAttr attribute) {
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      return kThreadsPerBlock;
    case cudaDevAttrMaxBlockDimX:
      return kBlockLimits[0];
    case cudaDevAttrMaxBlockDimY:
      return kBlockLimits[1];
    case cudaDevAttrMaxBlockDimZ:
      return kBlockLimits[2];
    case cudaDevAttrMaxGridDimX:
      return kGridLimits[0];
    case cudaDevAttrMaxGridDimY:
      return kGridLimits[1];
    case cudaDevAttrMaxGridDimZ:
      return kGridLimits[2];
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return kSharedPerBlockDefault;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return model.shared_per_block;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return model.shared_per_multiprocessor;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return kSharedReservedPerBlock;
    case cudaDevAttrTotalConstantMemory:
      return kConstantBytes;
    case cudaDevAttrWarpSize:
      return 32;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return kRegistersPerMultiprocessor;
    case cudaDevAttrClockRate:
      return model.clock_kilohertz;
    case cudaDevAttrMemoryClockRate:
      return model.memory_clock_kilohertz;
    case cudaDevAttrGlobalMemoryBusWidth:
      return model.memory_bus_bits;
    case cudaDevAttrL2CacheSize:
      return model.l2_bytes;
    case cudaDevAttrMultiProcessorCount:
      return model.multiprocessors;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return kThreadsPerMultiprocessor;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return kBlocksPerMultiprocessor;
    case cudaDevAttrComputeCapabilityMajor:
      return model.major;
    case cudaDevAttrComputeCapabilityMinor:
      return model.minor;
    case cudaDevAttrAsyncEngineCount:
      return kCopyEngines;
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrHostRegisterSupported:
    case cudaDevAttrMemoryPoolsSupported:
      return 1;
    // What the simulation does not have.
    case cudaDevAttrIntegrated:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrPageableMemoryAccess:
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrClusterLaunch:
      return 0;
    default:
      break;
  }
  throw std::runtime_error("cudaDeviceGetAttribute: attribute " + std::to_string(attribute) +
                           " is not simulated");
}

void fill_identity(cudaDeviceProp& properties, const DeviceModel& model, int index) {
  std::strncpy(properties.name, model.name, sizeof properties.name - 1);
  properties.uuid.bytes[15] = char(index + 1);
  properties.pciBusID = index + 1;
  properties.major = model.major;
  properties.minor = model.minor;
}

void fill_block_limits(cudaDeviceProp& properties, const DeviceModel& model) {
  properties.sharedMemPerBlock = kSharedPerBlockDefault;
  properties.sharedMemPerBlockOptin = size_t(model.shared_per_block);
  properties.sharedMemPerMultiprocessor = size_t(model.shared_per_multiprocessor);
  properties.reservedSharedMemPerBlock = kSharedReservedPerBlock;
  properties.regsPerBlock = properties.regsPerMultiprocessor = kRegistersPerMultiprocessor;
  properties.warpSize = 32;
  properties.maxThreadsPerBlock = kThreadsPerBlock;
  std::copy(kBlockLimits, kBlockLimits + 3, properties.maxThreadsDim);
  std::copy(kGridLimits, kGridLimits + 3, properties.maxGridSize);
  properties.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  properties.maxBlocksPerMultiProcessor = kBlocksPerMultiprocessor;
  properties.multiProcessorCount = model.multiprocessors;
}

void fill_memory(cudaDeviceProp& properties, const DeviceModel& model, size_t bytes) {
  properties.totalGlobalMem = bytes;
  properties.totalConstMem = kConstantBytes;
  properties.memPitch = 2147483647;
  properties.memoryBusWidth = model.memory_bus_bits;
  properties.l2CacheSize = model.l2_bytes;
  properties.asyncEngineCount = kCopyEngines;
  properties.concurrentKernels = properties.unifiedAddressing = properties.streamPrioritiesSupported = 1;
  properties.hostRegisterSupported = properties.memoryPoolsSupported = 1;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return query_call([&] {
    if (!count) return cudaErrorInvalidValue;
    if (device_count() == 0) return cudaErrorNoDevice;
    *count = device_count();
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int index) {
  return query_call([&] {
    if (!is_device(index)) return device_count() == 0 ? cudaErrorNoDevice : cudaErrorInvalidDevice;
    set_current_device(index);
    return device(index).sticky;
  });
}

cudaError_t cudaGetDevice(int* index) {
  return query_call([&] {
    if (!index) return cudaErrorInvalidValue;
    *index = current_device_index();
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
  return query_call([&] {
    if (!properties) return cudaErrorInvalidValue;
    if (!is_device(index)) return cudaErrorInvalidDevice;
    const Device& asked = device(index);
    *properties = {};
    fill_identity(*properties, asked.model, index);
    fill_block_limits(*properties, asked.model);
    fill_memory(*properties, asked.model, asked.memory.capacity());
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int index) {
  return query_call([&] {
    if (!value) return cudaErrorInvalidValue;
    if (!is_device(index)) return cudaErrorInvalidDevice;
    *value = attribute_of(device(index).model, attribute);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return api_call([&] {
    synchronise_device(current_device());
    return current_device().sticky;
  });
}

cudaError_t cudaDeviceReset() {
  return query_call([&] {
    synchronise_device(current_device());
    reset_device(current_device());
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  return query_call([&] {
    if (!version) return cudaErrorInvalidValue;
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

cudaError_t cudaDeviceCanAccessPeer(int* can_access, int index, int peer) {
  return query_call([&] {
    if (!can_access) return cudaErrorInvalidValue;
    if (!is_device(index) || !is_device(peer)) return cudaErrorInvalidDevice;
    *can_access = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return api_call([&] {
    if (flags != 0) return cudaErrorInvalidValue;
    return is_device(peer) ? cudaErrorPeerAccessUnsupported : cudaErrorInvalidDevice;
  });
}

}  // extern "C"
