#pragma once
// The inverse of the standard logistic distribution function, log p - log(1 - p), for 0 < p < 1 and p not subnormal; finite at
// p = 1 as well, where random_uniform rounds to once in 2^53 numbers.  Uses + - * / alone, so that processors and devices
// give the same bits.

#include "runtime/normal_quantile.h"

namespace tessera {

constexpr double logistic_quantile(double p) {
  return logarithm_of_basic_operations(p) - logarithm_of_basic_operations(1 - p);
}

}  // namespace tessera
