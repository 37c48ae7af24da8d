#pragma once
// What a CUDA stream of Tessera stands for: a device, its queue of work, the memory that tensors come from, pinned memory
// through which host values travel, and the trace of its ranges.  One per rank.  Implemented by cuda.cpp, or by
// cuda_none.cpp in builds without CUDA, where no engine can be made.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/arena.h"
#include "runtime/device.h"
#include "runtime/error.h"
#include "runtime/trace.h"

struct CUstream_st;
struct CUevent_st;
struct cublasContext;

namespace tessera {

/// Throws Error "what: CUDA's text" unless the code (a cudaError_t) is success.
void cuda_check(int code, const char* what);

/// The devices that the driver shows to this process.
struct CudaDevices {
  int count = 0;
  std::string problem{};             ///< why there are none; empty when there are
  std::string toolkit{}, driver{};   ///< versions, "13.0"; driver is empty when there is none
  std::vector<std::string> names{};  ///< by device, with memory and compute capability
};
CudaDevices cuda_devices();

/// A point in the order of a CUDA stream.
class CudaEvent {
 public:
  CudaEvent();
  ~CudaEvent();
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void record(CUstream_st* stream);
  void wait(CUstream_st* consumer) const;  ///< later work of the consumer starts after the recorded point
  void synchronize() const;                ///< the host waits

 private:
  CUevent_st* event_ = nullptr;
};

/// Device memory in the order of one stream: a freed block may be handed out again at once, since its next use is queued
/// behind the last one.  Work on other streams must be ordered by events before the block is freed.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void* allocate(int64_t bytes);  ///< gives kept blocks back to the device before it throws Error
  void release(void* block, int64_t bytes) noexcept;
  MemoryStatistics statistics() const { return statistics_; }

 private:
  void trim();

  std::map<int64_t, std::vector<void*>> kept_;  ///< by size class
  MemoryStatistics statistics_;
};

/// Page-locked host memory for copies that do not stop the host.  A slot is used again when its last copy has passed.
class Staging {
 public:
  Staging();
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void to_device(const void* from, void* to, int64_t bytes, CUstream_st* stream);
  void to_host(const void* from, void* to, int64_t bytes,
               CUstream_st* stream);  ///< returns when the values are there

 private:
  struct Slot;
  Slot& slot(int64_t bytes);

  std::vector<std::unique_ptr<Slot>> slots_;
};

struct CudaEngine {
  const int index;  ///< of the device
  CUstream_st* stream_handle = nullptr;
  DeviceMemory memory;
  Staging staging;
  Trace trace;
  std::shared_ptr<cublasContext> blas;  ///< made by the first matrix product (kernels/matmul.cu)

  /// Throws Error when there is no driver or no such device.
  explicit CudaEngine(int device_index);
  ~CudaEngine();
  CudaEngine(const CudaEngine&) = delete;
  CudaEngine& operator=(const CudaEngine&) = delete;

  Stream stream() { return {{Backend::cuda, index}, this}; }
  void synchronize();  ///< the host waits for all queued work; throws Error with what went wrong in it
  void zero(void* data, int64_t bytes);
  void copy(const void* from, void* to, int64_t bytes);  ///< within the device, in the order of the stream
};

/// The engine of a cuda stream.  Throws Error for other devices.
inline CudaEngine& cuda_engine_of(Stream stream) {
  TESSERA_CHECK(stream.device.backend == Backend::cuda && stream.handle,
                "stream: expected a cuda stream, got ", stream.device);
  return *static_cast<CudaEngine*>(stream.handle);
}

}  // namespace tessera
