#pragma once
// Device memory on its way into a message and out of one.

#include <cstring>
#include <vector>

#include "tests/simulated_gpu/runtime/device.h"

namespace simulated_gpu {

/// Copies device bytes, which the operation reads.  NaN bits where the checker forbids the access.
inline std::vector<std::byte> read_device(Device& device, uint64_t address, size_t bytes,
                                          const OperationPointer& operation) {
  std::vector<std::byte> copy(bytes, std::byte{0xff});
  if (bytes > 0 && device.touch(address, bytes, AccessKind::read, operation)) {
    std::memcpy(copy.data(), device.memory.at(address), bytes);
  }
  return copy;
}

/// Writes bytes, unless the checker forbids the access.
inline void write_device(Device& device, uint64_t address, const std::byte* from, size_t bytes,
                         const OperationPointer& operation) {
  if (bytes > 0 && device.touch(address, bytes, AccessKind::write, operation)) {
    std::memcpy(device.memory.at(address), from, bytes);
  }
}

}  // namespace simulated_gpu
