#pragma once
// Who listens to a launch: the checker, the profile, both, or only a guard against wild addresses.

#include <memory>

#include "tests/simulated_gpu/device/observer.h"
#include "tests/simulated_gpu/runtime/device.h"

namespace simulated_gpu {

/// As the options say: check and profile, or neither.
std::unique_ptr<Observer> observer_of_launch(Device& device, const OperationPointer& operation);

}  // namespace simulated_gpu
