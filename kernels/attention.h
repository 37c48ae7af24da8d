#pragma once
// Causal self-attention among the rows of a segment (a document), with online softmax: no rows x rows matrix in memory.
//
//   score[i, j] = scale q[i] . k[j] for j <= i in the segment of i;   p = softmax_j(score);   y[i] = sum_j p[i, j] v[j]
//   log_sum[i] = log sum_j exp(score[i, j])
//   delta[i] = dy[i] . y[i];  ds[i, j] = p[i, j] (dy[i] . v[j] - delta[i])
//   dq[i] = scale sum_j ds[i, j] k[j];  dk[j] = scale sum_i ds[i, j] q[i];  dv[j] = sum_i p[i, j] dy[i]
//
// q, k, v, y, dy, dq, dk, dv [rows, heads, head_dim]  f32 or bf16, all the same;  log_sum [heads, rows] f32
// segments: row numbers from 0 to rows, not decreasing; host.  Backward recomputes p from log_sum.
// Sums and statistics are in f32.  At Isa::amx, bf16 goes through matrix units: there p and ds are multiplied as sums of two bf16.  On cuda, bf16 with a head_dim of 16, 32, ... 128 goes through tensor cores: there p and
// ds are rounded to bf16 before the product that follows.
// Bits of a row do not depend on other segments, threads or where the segment begins: tiles start at the segment.
// Throws Error on a shape, dtype or segment mismatch.   Source: Dao, FlashAttention-2, 2023, algorithms 1 and 2.

#include <span>

#include "runtime/tensor.h"

namespace tessera::kernels {

struct AttentionOptions {
  std::span<const int64_t> segments;
  float scale = 1;
};

template <Backend B>
void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                       const Tensor& log_sum, AttentionOptions options, Stream stream);
void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                       const Tensor& log_sum, AttentionOptions options, Stream stream);

/// What forward read and wrote, and where the gradients go.
struct AttentionBackward {
  Tensor q, k, v, y, log_sum, dy;
  Tensor dq, dk, dv;
};
template <Backend B>
void attention_backward(const AttentionBackward& tensors, AttentionOptions options, Stream stream);
void attention_backward(const AttentionBackward& tensors, AttentionOptions options, Stream stream);

}  // namespace tessera::kernels
