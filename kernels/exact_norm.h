#pragma once
// Parts of a Euclidean norm whose result does not depend on how the elements are spread over ranks or threads.
//
//   largest = max |x|, or NaN when an element is NaN
//   squares = sum of (x 2^-exponent)^2 2^52, each rounded to a whole number (to even), so that the order of additions does not
//             matter
//   norm = 2^exponent sqrt(squares / 2^52), formed by the caller after both were combined over ranks
//
// x f32 of any shape; |x| < 2^exponent for squares.
// Throws Error on another dtype.  Returns when the value is on the host, on every backend.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
float largest_magnitude(const Tensor& x, Stream stream);
template <Backend B>
unsigned __int128 scaled_squares(const Tensor& x, int exponent, Stream stream);

float largest_magnitude(const Tensor& x, Stream stream);
unsigned __int128 scaled_squares(const Tensor& x, int exponent, Stream stream);

}  // namespace tessera::kernels
