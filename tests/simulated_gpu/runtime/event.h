#pragma once
// Events: what is waited for is the marker that the latest record left in a stream.

#include "tests/simulated_gpu/runtime/stream.h"

struct CUevent_st {
  simulated_gpu::Device* device;
  unsigned flags;
  simulated_gpu::MarkerPointer recorded;  ///< null before the first record
};

namespace simulated_gpu {

/// Forgets the events of a device.
void remove_events(const Device& device);

}  // namespace simulated_gpu
