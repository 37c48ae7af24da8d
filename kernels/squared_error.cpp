#include "kernels/squared_error.h"

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/squared_error.inc"
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void squared_error_forward(const Tensor& x, const Tensor& target, const Tensor& by_row, Stream stream) {
  const Check check{"squared_error_forward", stream};
  check.floats("x", x, 2);
  check.tensor("x", x, x.shape(), DType::f32);
  check.tensor("target", target, x.shape(), DType::f32);
  check.tensor("by_row", by_row, {x.shape()[0]}, DType::f32);
  on_backend(stream, [&]<Backend B>() { squared_error_forward<B>(x, target, by_row, stream); });
}

template <>
void squared_error_forward<Backend::cpu>(const Tensor& x, const Tensor& target, const Tensor& by_row,
                                         Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "squared_error_forward", x, target, by_row);
  const int64_t rows = x.shape()[0], cols = x.shape()[1];
  auto* const sum = cpu::select(stream, avx2::squared_error_row, avx512::squared_error_row);
  const float *const from = x.data<float>(), *const truth = target.data<float>();
  float* const sums = by_row.data<float>();
  cpu::parallel_for(stream, rows, cpu::task_rows(cols), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) sums[row] = sum(from + row * cols, truth + row * cols, cols);
  });
}

void squared_error_backward(const SquaredErrorBackward& tensors, float scale, Stream stream) {
  const Check check{"squared_error_backward", stream};
  check.floats("x", tensors.x, 2);
  check.tensor("x", tensors.x, tensors.x.shape(), DType::f32);
  check.tensor("target", tensors.target, tensors.x.shape(), DType::f32);
  check.count("dtotal", tensors.dtotal, 1, DType::f32);
  check.tensor("dx", tensors.dx, tensors.x.shape(), DType::f32);
  on_backend(stream, [&]<Backend B>() { squared_error_backward<B>(tensors, scale, stream); });
}

template <>
void squared_error_backward<Backend::cpu>(const SquaredErrorBackward& tensors, float scale, Stream stream) {
  const TraceRange range =
      cpu::kernel_range(stream, "squared_error_backward", tensors.x, tensors.target, tensors.dx);
  auto* const gradient = cpu::select(stream, avx2::squared_error_gradient, avx512::squared_error_gradient);
  const float *const x = tensors.x.data<float>(), *const target = tensors.target.data<float>();
  const float factor = 2 * scale * tensors.dtotal.data<float>()[0];
  float* const dx = tensors.dx.data<float>();
  cpu::parallel_for(stream, tensors.x.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
    gradient(x + begin, target + begin, factor, dx + begin, end - begin);
  });
}

}  // namespace tessera::kernels
