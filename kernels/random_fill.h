#pragma once
// Draws numbers that depend on their index alone (runtime/random.h), the same bits on every backend.
//
//   fill_normal     y[i] = deviation random_normal(seed, purpose, begin + i), rounded to f32 before the product
//   fill_logistic   y[i] = log u - log(1 - u), u = random_uniform(seed, purpose, begin + i), in f64, rounded once:
//                   the difference of two independent Gumbel(0, 1) variables (mean 0, variance pi^2 / 3), always finite
//
// y f32 of any shape.  Throws Error on another dtype.
// Source of the logistic noise: MoMa (arXiv 2407.21770), equation 5, Gumbel-sigmoid.

#include "runtime/random.h"
#include "runtime/tensor.h"

namespace tessera::kernels {

struct NormalOptions {
  uint64_t seed;
  Purpose purpose;
  int64_t begin = 0;
  float deviation = 1;
};

struct LogisticOptions {
  uint64_t seed;
  Purpose purpose;
  int64_t begin = 0;
};

template <Backend B>
void fill_normal(const Tensor& y, NormalOptions options, Stream stream);
template <Backend B>
void fill_logistic(const Tensor& y, LogisticOptions options, Stream stream);

void fill_normal(const Tensor& y, NormalOptions options, Stream stream);
void fill_logistic(const Tensor& y, LogisticOptions options, Stream stream);

}  // namespace tessera::kernels
