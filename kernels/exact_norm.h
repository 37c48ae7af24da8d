#pragma once
// Parts of a Euclidean norm whose result does not depend on how the elements are spread over ranks or threads.
//
//   largest = max |x|, or NaN when an element is NaN
//   squares = sum of floor((|x| / largest)^2 2^52) as whole numbers, so that the order of additions does not matter
//   norm = largest sqrt(squares / 2^52), formed by the caller after both were combined over ranks
//
// x f32 of any shape; largest > 0 and finite for squares.  Quotient and square are rounded in f64.
// Throws Error on another dtype.  Returns when the value is on the host, on every backend.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
float largest_magnitude(const Tensor& x, Stream stream);
template <Backend B>
unsigned __int128 scaled_squares(const Tensor& x, float largest, Stream stream);

float largest_magnitude(const Tensor& x, Stream stream);
unsigned __int128 scaled_squares(const Tensor& x, float largest, Stream stream);

}  // namespace tessera::kernels
