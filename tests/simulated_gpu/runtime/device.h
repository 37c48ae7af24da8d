#pragma once
// The simulated devices of the process: limits, memory, and the error that has stuck to them.

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/simulated_gpu/checker/global_shadow.h"
#include "tests/simulated_gpu/memory/arena.h"
#include "tests/simulated_gpu/runtime/memory_pool.h"

struct CUstream_st;

namespace simulated_gpu {

/// What differs between the models.  Source: CUDA C++ programming guide, compute capabilities; data sheets.
struct DeviceModel {
  const char* option;  ///< value of SIMULATED_GPU_DEVICE
  const char* name;
  int major, minor, multiprocessors;
  int shared_per_block;           ///< with cudaFuncAttributeMaxDynamicSharedMemorySize, bytes
  int shared_per_multiprocessor;  ///< bytes
  int l2_bytes, clock_kilohertz, memory_clock_kilohertz, memory_bus_bits;
};

/// The same for all of them.
constexpr int kSharedPerBlockDefault = 48 * 1024, kSharedReservedPerBlock = 1024, kThreadsPerBlock = 1024,
              kThreadsPerMultiprocessor = 2048, kBlocksPerMultiprocessor = 32,
              kRegistersPerMultiprocessor = 65536, kConstantBytes = 65536, kCopyEngines = 3;
constexpr int kBlockLimits[3] = {1024, 1024, 64}, kGridLimits[3] = {2147483647, 65535, 65535};

/// Throws std::runtime_error for an unknown option, naming those there are.
const DeviceModel& device_model(const std::string& option);

struct Device {
  Device(int index, const DeviceModel& model, uint64_t memory_bytes);

  // What the checker hears of operations other than launches; without checks, only whether memory is live.
  void allocated(uint64_t address, uint64_t bytes, const OperationPointer& operation);
  void released(uint64_t address, uint64_t bytes, const OperationPointer& operation);
  /// False when the access may not happen.
  bool touch(uint64_t address, uint64_t bytes, AccessKind kind, const OperationPointer& operation);

  const int index;
  const DeviceModel& model;
  Arena memory;
  GlobalShadow shadow;
  MemoryPool pool;
  cudaError_t sticky = cudaSuccess;
  CUstream_st* legacy_stream = nullptr;  ///< the default stream, once used
  uint64_t variable_bytes = 0;           ///< of modules: in use, but not by the program's allocations
};

int device_count();
Device& device(int index);  ///< made at first use
Device& current_device();   ///< of the calling thread
int current_device_index();
void set_current_device(int index);
/// The device whose range contains the address, live or not; null for host addresses.
Device* device_of(const void* address);
std::vector<Device*> devices_in_use();
/// Forgets the device, so that its next use makes it anew under the options of then.
void remove_device(const Device& device);

}  // namespace simulated_gpu
