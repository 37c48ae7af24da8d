#pragma once
// Gated linear unit with SiLU, the inner part of the feed-forward network.
//
//   y = silu(gate) up,  silu(a) = a s,  s = 1 / (1 + exp(-a))
//   dgate = dy up s (1 + a (1 - s)),   dup = dy silu(gate)
//
// All tensors of one shape and dtype (f32 or bf16); dgate may be gate, dup may be up.  Throws Error otherwise.
// Source: Shazeer, GLU variants improve transformer, 2020.

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& y, Stream stream);
template <Backend B>
void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& dy, const Tensor& dgate,
                     const Tensor& dup, Stream stream);

void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& y, Stream stream);
void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& dy, const Tensor& dgate,
                     const Tensor& dup, Stream stream);

}  // namespace tessera::kernels
