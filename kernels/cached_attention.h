#pragma once
// Attention of single queries to the cached keys and values of their sequences: incremental decoding, forward only.
//
//   score[r, j] = head_dim^-1/2 q[r] . keys[sequence[r] capacity + j] for j < visible[r];   p = softmax_j(score)
//   y[r] = sum_j p[r, j] values[sequence[r] capacity + j],   head by head
//
// q, y [rows, heads, head_dim]; keys, values [sequences capacity, heads, head_dim], row s capacity + j for position j of
// sequence s; f32 or bf16, all the same; 1 <= head_dim <= 256
// sequence, visible [rows] i32, in [0, sequences) and [1, capacity].  Rows of keys and values that no query sees are not
// read.  Sums are in f32, over chunks of keys that the number of visible keys alone decides, with a running maximum.
// The bits of a row do not depend on the other rows, nor on capacity or where its sequence lies.
// Throws Error on a shape or dtype mismatch and on a number out of range; on a GPU the stream throws it later (README.md).
// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.

#include "runtime/tensor.h"

namespace tessera::kernels {

struct CachedAttention {
  Tensor q, keys, values, sequence, visible;
  Tensor y;
};

template <Backend B>
void cached_attention(const CachedAttention& tensors, int64_t capacity, Stream stream);
void cached_attention(const CachedAttention& tensors, int64_t capacity, Stream stream);

}  // namespace tessera::kernels
