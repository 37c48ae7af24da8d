#pragma once
// Gives every element one value.  f32; throws Error on another dtype.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void fill(const Tensor& y, float value, Stream stream);
void fill(const Tensor& y, float value, Stream stream);

}  // namespace tessera::kernels
