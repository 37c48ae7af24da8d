#pragma once
// Expert choice: every expert of a group picks the rows with its highest scores among the group's candidates.
//
// scores [rows, columns] f32: experts of the group are columns [column, column + experts); NaN counts as the least
// candidates [n] i32: increasing row numbers
// pools  positions in candidates from 0 to n, not decreasing, host: experts choose separately inside each pool
//        [pools[p], pools[p + 1])
// chosen [experts, sum_p counts[p]] i32: for each expert, pool after pool, the counts[p] candidate rows (as row numbers of
//        scores) with the highest scores, in increasing order of row; equal scores: the lower row wins
// Throws Error when counts[p] is negative or exceeds the pool, on a shape or dtype mismatch, and on candidates that are
// out of range or do not increase; for these, on a GPU, the stream throws it later (README.md).
// Source: Zhou et al., Mixture-of-experts with expert choice routing (arXiv 2202.09368), section 3.

#include <span>

#include "runtime/tensor.h"

namespace tessera::kernels {

struct ExpertChoiceOptions {
  int64_t column = 0;               ///< first column of the group
  std::span<const int64_t> pools;   ///< pools + 1 numbers
  std::span<const int64_t> counts;  ///< one per pool
};

template <Backend B>
void expert_choice(const Tensor& scores, const Tensor& candidates, const Tensor& chosen,
                   ExpertChoiceOptions options, Stream stream);
void expert_choice(const Tensor& scores, const Tensor& candidates, const Tensor& chosen,
                   ExpertChoiceOptions options, Stream stream);

}  // namespace tessera::kernels
