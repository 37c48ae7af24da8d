#pragma once
// Element by element, whatever the shape; counts must agree (Error otherwise).
//
//   add               y = a + b             f32 or bf16, all the same; y may be a or b
//   subtract          y = a - b             as add
//   negate            y = -x                f32 or bf16, the same; y may be x
//   cast              y = x                 between f32 and bf16 (round to nearest even), or the same dtype
//   sigmoid_forward   y = 1 / (1 + exp(-x))     f32 or bf16, the same
//   sigmoid_backward  dx = dy y (1 - y)         dx may be dy
//   silu_forward      y = x s, s = 1 / (1 + exp(-x))    f32 or bf16, the same
//   silu_backward     dx = dy s (1 + x (1 - s))         dx may be dy

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void add(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream);
template <Backend B>
void subtract(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream);
template <Backend B>
void negate(const Tensor& x, const Tensor& y, Stream stream);
template <Backend B>
void cast(const Tensor& x, const Tensor& y, Stream stream);
template <Backend B>
void sigmoid_forward(const Tensor& x, const Tensor& y, Stream stream);
template <Backend B>
void sigmoid_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, Stream stream);
template <Backend B>
void silu_forward(const Tensor& x, const Tensor& y, Stream stream);
template <Backend B>
void silu_backward(const Tensor& x, const Tensor& dy, const Tensor& dx, Stream stream);

void add(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream);
void subtract(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream);
void negate(const Tensor& x, const Tensor& y, Stream stream);
void cast(const Tensor& x, const Tensor& y, Stream stream);
void sigmoid_forward(const Tensor& x, const Tensor& y, Stream stream);
void sigmoid_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, Stream stream);
void silu_forward(const Tensor& x, const Tensor& y, Stream stream);
void silu_backward(const Tensor& x, const Tensor& dy, const Tensor& dx, Stream stream);

}  // namespace tessera::kernels
