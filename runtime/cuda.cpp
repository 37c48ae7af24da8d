// The CUDA half of the runtime; cuda_none.cpp takes its place in builds without CUDA.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "runtime/cuda_engine.h"

namespace tessera {
namespace {

constexpr size_t kStagingSlots = 4;  // copies on their way before the host waits for the oldest

/// The engine's device is the calling thread's for as long as this lives.
void choose(int device) { cuda_check(cudaSetDevice(device), "cudaSetDevice"); }

/// Eight classes per power of two: at most 12.5 % is wasted and blocks of similar size serve each other.
int64_t size_class(int64_t bytes) {
  const int64_t wanted = std::max<int64_t>(Arena::rounded(bytes), 512);
  const int64_t step = std::max<int64_t>(
      Arena::kAlignment, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(wanted)) / 8));
  return (wanted + step - 1) / step * step;
}

/// "13.0" of 13000.
std::string version(int number) { return str(number / 1000, ".", number % 1000 / 10); }

}  // namespace

void cuda_check(int code, const char* what) {
  const auto error = static_cast<cudaError_t>(code);
  if (error != cudaSuccess)
    throw Error(str(what, ": CUDA: ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ")"));
}

CudaDevices cuda_devices() {
  CudaDevices devices;
  devices.toolkit = version(CUDART_VERSION);
  int driver = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) devices.driver = version(driver);
  const cudaError_t error = cudaGetDeviceCount(&devices.count);
  if (error != cudaSuccess) {
    devices.count = 0;  // untouched or worse
    devices.problem = devices.driver.empty() ? "no NVIDIA driver is installed" : cudaGetErrorString(error);
  } else if (devices.count == 0) {
    devices.problem = "the driver sees no device";
  }
  for (int device = 0; device < devices.count; ++device) {
    cudaDeviceProp properties{};
    cuda_check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    devices.names.push_back(str(properties.name, ", ", properties.totalGlobalMem >> 30, " GiB, sm_",
                                properties.major, properties.minor));
  }
  return devices;
}

CudaEvent::CudaEvent() {
  cuda_check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
}
CudaEvent::~CudaEvent() { cudaEventDestroy(event_); }
void CudaEvent::record(CUstream_st* stream) {
  cuda_check(cudaEventRecord(event_, stream), "cudaEventRecord");
}
void CudaEvent::wait(CUstream_st* consumer) const {
  cuda_check(cudaStreamWaitEvent(consumer, event_, 0), "cudaStreamWaitEvent");
}
void CudaEvent::synchronize() const { cuda_check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

DeviceMemory::~DeviceMemory() { trim(); }

void DeviceMemory::trim() {
  for (auto& [size, blocks] : kept_)
    for (void* block : blocks) {
      cudaFree(block);
      statistics_.held_bytes -= size;
    }
  kept_.clear();
}

void* DeviceMemory::allocate(int64_t bytes) {
  const int64_t size = size_class(bytes);
  void* block = nullptr;
  if (auto kept = kept_.find(size); kept != kept_.end() && !kept->second.empty()) {
    block = kept->second.back();
    kept->second.pop_back();
  } else {
    if (cudaMalloc(&block, static_cast<size_t>(size)) == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // kept blocks of other sizes may make the room
      trim();
      const cudaError_t error = cudaMalloc(&block, static_cast<size_t>(size));
      if (error != cudaSuccess) cudaGetLastError();
      TESSERA_CHECK(error == cudaSuccess, "device memory: no ", size, " bytes left; ", statistics_.live_bytes,
                    " are in use (", cudaGetErrorString(error), ")");
    }
    TESSERA_CHECK(block, "device memory: cudaMalloc gave nothing for ", size, " bytes");
    statistics_.held_bytes += size;
    ++statistics_.growths;
  }
  statistics_.live_bytes += size;
  statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.live_bytes);
  return block;
}

void DeviceMemory::release(void* block, int64_t bytes) noexcept {
  const int64_t size = size_class(bytes);
  kept_[size].push_back(block);
  statistics_.live_bytes -= size;
}

struct Staging::Slot {
  void* data = nullptr;
  int64_t bytes = 0;
  CudaEvent free;

  ~Slot() {
    if (data) cudaFreeHost(data);
  }
  void grow(int64_t wanted) {
    if (wanted <= bytes) return;
    if (data) cuda_check(cudaFreeHost(std::exchange(data, nullptr)), "cudaFreeHost");
    bytes = size_class(wanted);
    cuda_check(cudaMallocHost(&data, static_cast<size_t>(bytes)), "cudaMallocHost");
  }
};

Staging::Staging() = default;
Staging::~Staging() = default;

Staging::Slot& Staging::slot(int64_t bytes) {
  if (slots_.size() < kStagingSlots)
    slots_.push_back(std::make_unique<Slot>());
  else
    std::rotate(slots_.begin(), slots_.begin() + 1, slots_.end());
  Slot& oldest = *slots_.back();
  if (oldest.data) oldest.free.synchronize();
  oldest.grow(bytes);
  return oldest;
}

void Staging::to_device(const void* from, void* to, int64_t bytes, CUstream_st* stream) {
  Slot& room = slot(bytes);
  std::memcpy(room.data, from, static_cast<size_t>(bytes));
  cuda_check(cudaMemcpyAsync(to, room.data, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream),
             "copy to device");
  room.free.record(stream);
}

void Staging::to_host(const void* from, void* to, int64_t bytes, CUstream_st* stream) {
  Slot& room = slot(bytes);
  cuda_check(cudaMemcpyAsync(room.data, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream),
             "copy to host");
  room.free.record(stream);
  room.free.synchronize();
  std::memcpy(to, room.data, static_cast<size_t>(bytes));
}

CudaEngine::CudaEngine(int device_index) : index(device_index) {
  choose(index);
  cuda_check(cudaStreamCreateWithFlags(&stream_handle, cudaStreamNonBlocking), "cudaStreamCreate");
}

CudaEngine::~CudaEngine() {
  cudaStreamSynchronize(stream_handle);
  blas.reset();
  cudaStreamDestroy(stream_handle);
}

void CudaEngine::synchronize() { cuda_check(cudaStreamSynchronize(stream_handle), "cudaStreamSynchronize"); }

void CudaEngine::zero(void* data, int64_t bytes) {
  cuda_check(cudaMemsetAsync(data, 0, static_cast<size_t>(bytes), stream_handle), "cudaMemset");
}

void CudaEngine::copy(const void* from, void* to, int64_t bytes) {
  cuda_check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_handle),
             "copy on device");
}

}  // namespace tessera
