#pragma once
// What a layout costs, measured in one training step beside its closed form (launch/footprint.h).

#include "benchmarks/training_step.h"

namespace tessera::benchmarks {

/// Of all ranks together, so the same on each.
struct LayoutCosts {
  Layout layout;
  bool exact = true;    ///< every rank sent and holds the bytes of the closed form
  StepTraffic traffic;  ///< of the ranks that send most of a kind, measured
  StepTraffic expected_traffic;
  int64_t other_traffic = 0;  ///< norms and agreements; in no closed form
  int64_t state = 0;          ///< parameters, gradients and moments of the rank that holds most, measured
  int64_t expected_state = 0;
  int64_t live = 0;  ///< all tensors between steps, in the size classes of the allocator
  int64_t peak = 0;  ///< the most in a step
};

/// Two steps of a config without mixture-of-depths.  Collective.
LayoutCosts measure_layout(const StepSetting& setting, Communicator& world);

}  // namespace tessera::benchmarks
