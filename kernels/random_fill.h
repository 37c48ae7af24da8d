#pragma once
// Draws numbers that depend on their index alone (runtime/random.h), the same bits on every backend.
//
//   y[i] = deviation random_normal(seed, purpose, begin + i), rounded to f32 before the product
//
// y f32 of any shape.  Throws Error on another dtype.

#include "runtime/random.h"
#include "runtime/tensor.h"

namespace tessera::kernels {

struct NormalOptions {
  uint64_t seed;
  Purpose purpose;
  int64_t begin = 0;
  float deviation = 1;
};

template <Backend B>
void fill_normal(const Tensor& y, NormalOptions options, Stream stream);
void fill_normal(const Tensor& y, NormalOptions options, Stream stream);

}  // namespace tessera::kernels
