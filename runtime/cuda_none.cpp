// Stands in for cuda.cpp in builds without CUDA.  No engine can be made, so nothing else is ever reached; each function
// says the same.
#include "runtime/cuda_engine.h"

namespace tessera {
namespace {

constexpr const char* kReason = "this build has no CUDA: it was made without nvcc";

[[noreturn]] void refuse() { throw Error(kReason); }

}  // namespace

CudaDevices cuda_devices() { return {0, kReason}; }

struct Staging::Slot {};
Staging::Staging() = default;
Staging::~Staging() = default;
DeviceMemory::~DeviceMemory() = default;
CudaEngine::CudaEngine(int device_index) : index(device_index) { refuse(); }
CudaEngine::~CudaEngine() = default;

void* DeviceMemory::allocate(int64_t) { refuse(); }
void DeviceMemory::release(void*, int64_t) noexcept {}
void Staging::to_device(const void*, void*, int64_t, CUstream_st*) { refuse(); }
void Staging::to_host(const void*, void*, int64_t, CUstream_st*) { refuse(); }
void CudaEngine::synchronize() { refuse(); }
void CudaEngine::zero(void*, int64_t) { refuse(); }
void CudaEngine::copy(const void*, void*, int64_t) { refuse(); }

}  // namespace tessera
