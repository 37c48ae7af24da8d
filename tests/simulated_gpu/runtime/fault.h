#pragma once
// Failures on purpose: SIMULATED_GPU_FAIL.

#include <cstdint>
#include <string>

namespace simulated_gpu {

enum class FaultKind : uint8_t { malloc, launch, copy, collective };

/// Counts a call; true when it is the one that has to fail.
bool is_failure_due(FaultKind kind);

/// Starts counting anew: "kind:N" entries separated by commas, empty for none.  Throws std::runtime_error for
/// anything else.
void plan_failures(const std::string& plan);

}  // namespace simulated_gpu
