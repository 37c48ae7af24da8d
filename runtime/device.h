#pragma once
// Devices and the queues of work on them.

#include <cstdint>
#include <ostream>

namespace tessera {

enum class Backend : uint8_t {
  cpu,
  cuda,
  meta,  ///< shapes only: tensors have no storage and kernels do nothing, so a model can be counted without memory
};

struct Device {
  Backend backend = Backend::cpu;
  int index = 0;

  friend bool operator==(Device, Device) = default;
  friend std::ostream& operator<<(std::ostream& out, Device device) {
    constexpr const char* kNames[] = {"cpu", "cuda", "meta"};
    return out << kNames[static_cast<int>(device.backend)] << ':' << device.index;
  }
};

/// An ordered queue of work on one device.  A value: copy it freely; its engine must outlive it.
struct Stream {
  Device device;
  void* handle = nullptr;  ///< CpuEngine* on cpu, CudaEngine* on cuda, MetaEngine* or null on meta

  static Stream meta() { return {{Backend::meta, 0}, nullptr}; }
  friend bool operator==(Stream, Stream) = default;
};

}  // namespace tessera
