#include "tests/simulated_gpu/runtime/reset.h"

#include "tests/simulated_gpu/runtime/event.h"
#include "tests/simulated_gpu/runtime/module.h"
#include "tests/simulated_gpu/runtime/stream.h"

namespace simulated_gpu {

void reset_device(Device& device) {
  remove_streams(device);
  remove_events(device);
  remove_modules(device);
  remove_device(device);
}

}  // namespace simulated_gpu
