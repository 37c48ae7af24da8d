#pragma once
// Kernels and instructions as people know them.

#include <string>

#include "tests/simulated_gpu/ptx/module.h"

namespace simulated_gpu {

/// Demangled, with its arguments.
std::string kernel_name(const ptx::Kernel& kernel);
/// "file:line", empty when unknown.
std::string source_of(const ptx::Instruction& instruction);

}  // namespace simulated_gpu
