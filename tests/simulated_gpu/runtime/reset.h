#pragma once

#include "tests/simulated_gpu/runtime/device.h"

namespace simulated_gpu {

/// Everything that the program has on the device ends, its sticky error too.  Nothing may be queued.
void reset_device(Device& device);

}  // namespace simulated_gpu
