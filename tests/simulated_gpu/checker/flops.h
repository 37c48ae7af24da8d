#pragma once
// Floating-point operations of an instruction.

#include <cstdint>

#include "tests/simulated_gpu/ptx/module.h"

namespace simulated_gpu {

struct Flops {
  uint64_t per_lane = 0;
  uint64_t per_warp = 0;
};

/// add, sub, mul, div, rcp, sqrt, rsqrt, ex2, lg2, sin, cos and tanh on floats count one per element, fma and
/// mad two, mma twice the product of its shape.  Conversions, comparisons, min, max, negation and absolute
/// value count nothing.
Flops flops_of(const ptx::Instruction& instruction);

}  // namespace simulated_gpu
