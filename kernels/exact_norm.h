#pragma once
// Parts of a Euclidean norm whose result does not depend on how the elements are spread over ranks or threads.
//
//   largest = max |x|, or NaN when an element is NaN
//   squares = sum of (x 2^-exponent)^2 2^52, each rounded to a whole number (to even), so that the order of additions does not
//             matter; says nothing unless all |x| < 2^exponent
//   norm = 2^exponent sqrt(squares / 2^52), once both were combined over ranks and exponent is that of the largest
//
// One pass gives both, for who knows the exponent beforehand, as one does from step to step: it is a multiple of four.
// x f32 of any shape.
// Throws Error on another dtype.  Returns when the values are on the host, on every backend.

#include "runtime/tensor.h"

namespace tessera::kernels {

struct NormParts {
  float largest = 0;
  unsigned __int128 squares = 0;
};

template <Backend B>
NormParts norm_parts(const Tensor& x, int exponent, Stream stream);
NormParts norm_parts(const Tensor& x, int exponent, Stream stream);

/// The exponent for a largest magnitude that is finite and above 0.
int norm_exponent(float largest);

/// The norm from squares for this exponent.
double norm_from(unsigned __int128 squares, int exponent);

}  // namespace tessera::kernels
