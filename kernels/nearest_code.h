#pragma once
// Vector quantisation: for every row the code nearest to it.
//
//   distance[r, i] = sum_k (x[r, k] - codes[i, k])^2, one chain of fused multiply-adds in order of k
//   chosen[r] = the least i among those with the least distance[r, i]
//
// x [rows, width] f32, codes [count > 0, width] f32, chosen [rows] i32; 0 < width <= kMostCodeWidth, count <= 2^24
// A distance that is NaN or infinite is never less than another: a row without a finite distance gets code 0.
// The bits are the same on every backend.  Throws Error on a shape or dtype mismatch.
// Source: van den Oord et al., Neural discrete representation learning (arXiv 1711.00937), eq. 1.

#include "runtime/tensor.h"

namespace tessera::kernels {

inline constexpr int64_t kMostCodeWidth = 256;  ///< a block's rows and codes fit into shared memory

template <Backend B>
void nearest_code(const Tensor& x, const Tensor& codes, const Tensor& chosen, Stream stream);
void nearest_code(const Tensor& x, const Tensor& codes, const Tensor& chosen, Stream stream);

}  // namespace tessera::kernels
