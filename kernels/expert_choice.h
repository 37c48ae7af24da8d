#pragma once
// Expert choice: every expert picks the rows with its highest scores.
//
// scores [rows, experts] f32; NaN counts as the least
// pools  row numbers from 0 to rows, not decreasing, host: experts choose separately inside each pool [pools[p], pools[p+1])
// chosen [experts, sum_p counts[p]] i32: for each expert, pool after pool, the counts[p] rows with the highest scores
//        in increasing order of row; equal scores: the lower row wins
// Throws Error when counts[p] is negative or exceeds the pool, or on a shape or dtype mismatch.
// Source: Zhou et al., Mixture-of-experts with expert choice routing (arXiv 2202.09368), section 3.

#include <span>

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B> void expert_choice(const Tensor& scores, std::span<const int64_t> pools, std::span<const int64_t> counts, const Tensor& chosen, Stream stream);
void expert_choice(const Tensor& scores, std::span<const int64_t> pools, std::span<const int64_t> counts, const Tensor& chosen, Stream stream);

}  // namespace tessera::kernels
