#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

namespace tessera::kernels {
namespace {

template <class T>
struct RmsNormForward {
  const T *x, *weight, *residual;  ///< residual may be null
  T* y;
  float* inverse_rms;
  int64_t cols;
  float epsilon;
};

template <class T>
struct RmsNormBackward {
  const T *x, *weight;
  const float* inverse_rms;
  const T* dy;
  T* dx;
  int64_t cols;
};

}  // namespace
}  // namespace tessera::kernels

#define TESSERA_KERNELS "kernels/cpu/rms_norm.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void rms_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& residual, const Tensor& y,
                      const Tensor& inverse_rms, float epsilon, Stream stream) {
  const Check check{"rms_norm_forward", stream};
  check.floats("x", x, 2);
  TESSERA_CHECK(x.shape()[1] > 0, check.op, ": x must be [rows, cols > 0], got ", x.shape());
  check.tensor("weight", weight, {x.shape()[1]}, x.dtype());
  if (residual) check.tensor("residual", residual, x.shape(), x.dtype());
  check.tensor("y", y, x.shape(), x.dtype());
  check.tensor("inverse_rms", inverse_rms, {x.shape()[0]}, DType::f32);
  on_backend(stream,
             [&]<Backend B>() { rms_norm_forward<B>(x, weight, residual, y, inverse_rms, epsilon, stream); });
}

template <>
void rms_norm_forward<Backend::cpu>(const Tensor& x, const Tensor& weight, const Tensor& residual,
                                    const Tensor& y, const Tensor& inverse_rms, float epsilon,
                                    Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "rms_norm_forward", x, residual, y, inverse_rms);
  const int64_t rows = x.shape()[0], cols = x.shape()[1];
  visit_float(x.dtype(), [&]<class T>() {
    const RmsNormForward<T> arguments{
        x.data<T>(), weight.data<T>(),          residual ? residual.data<T>() : nullptr,
        y.data<T>(), inverse_rms.data<float>(), cols,
        epsilon};
    auto* const forward =
        cpu::select(stream, avx2::rms_norm_forward_rows<T>, avx512::rms_norm_forward_rows<T>,
                    avx512_bf16::rms_norm_forward_rows<T>);
    cpu::parallel_for(stream, rows, cpu::task_rows(cols),
                      [&](int64_t begin, int64_t end) { forward(arguments, begin, end); });
  });
}

void rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& inverse_rms, const Tensor& dy,
                       const Tensor& dx, const Tensor& dweight, Stream stream) {
  const Check check{"rms_norm_backward", stream};
  check.floats("x", x, 2);
  TESSERA_CHECK(x.shape()[1] > 0, check.op, ": x must be [rows, cols > 0], got ", x.shape());
  check.tensor("weight", weight, {x.shape()[1]}, x.dtype());
  check.tensor("inverse_rms", inverse_rms, {x.shape()[0]}, DType::f32);
  check.tensor("dy", dy, x.shape(), x.dtype());
  check.tensor("dx", dx, x.shape(), x.dtype());
  check.tensor("dweight", dweight, {x.shape()[1]}, DType::f32);
  on_backend(stream,
             [&]<Backend B>() { rms_norm_backward<B>(x, weight, inverse_rms, dy, dx, dweight, stream); });
}

template <>
void rms_norm_backward<Backend::cpu>(const Tensor& x, const Tensor& weight, const Tensor& inverse_rms,
                                     const Tensor& dy, const Tensor& dx, const Tensor& dweight,
                                     Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "rms_norm_backward", x, dy, dx, inverse_rms);
  const int64_t rows = x.shape()[0], cols = x.shape()[1];
  visit_float(x.dtype(), [&]<class T>() {
    const RmsNormBackward<T> arguments{x.data<T>(),  weight.data<T>(), inverse_rms.data<float>(),
                                       dy.data<T>(), dx.data<T>(),     cols};
    auto* const backward =
        cpu::select(stream, avx2::rms_norm_backward_rows<T>, avx512::rms_norm_backward_rows<T>,
                    avx512_bf16::rms_norm_backward_rows<T>);
    cpu::column_sums(
        stream, rows, cols, dweight.data<float>(),
        [&](float* partial, int64_t begin, int64_t end) { backward(arguments, partial, begin, end); });
  });
}

}  // namespace tessera::kernels
