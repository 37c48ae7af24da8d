#include "kernels/layer_norm.h"

#include <cmath>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

namespace tessera::kernels {
namespace {

template <class T>
struct LayerNormForward {
  const T *x, *weight, *bias;
  T* y;
  float* statistics;
  int64_t cols;
  float epsilon;
};

template <class T>
struct LayerNormBackward {
  const T *x, *weight;
  const float* statistics;
  const T* dy;
  T* dx;
  int64_t cols;
};

}  // namespace
}  // namespace tessera::kernels

#define TESSERA_KERNELS "kernels/cpu/layer_norm.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y,
                        const Tensor& statistics, float epsilon, Stream stream) {
  const Check check{"layer_norm_forward", stream};
  check.floats("x", x, 2);
  TESSERA_CHECK(x.shape()[1] > 0, check.op, ": x must be [rows, cols > 0], got ", x.shape());
  check.tensor("weight", weight, {x.shape()[1]}, x.dtype());
  check.tensor("bias", bias, {x.shape()[1]}, x.dtype());
  check.tensor("y", y, x.shape(), x.dtype());
  check.tensor("statistics", statistics, {x.shape()[0], 2}, DType::f32);
  on_backend(stream,
             [&]<Backend B>() { layer_norm_forward<B>(x, weight, bias, y, statistics, epsilon, stream); });
}

template <>
void layer_norm_forward<Backend::cpu>(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                      const Tensor& y, const Tensor& statistics, float epsilon,
                                      Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "layer_norm_forward", x, y, statistics);
  const int64_t rows = x.shape()[0], cols = x.shape()[1];
  visit_float(x.dtype(), [&]<class T>() {
    const LayerNormForward<T> arguments{
        x.data<T>(), weight.data<T>(), bias.data<T>(), y.data<T>(), statistics.data<float>(), cols, epsilon};
    auto* const forward =
        cpu::select(stream, avx2::layer_norm_forward_rows<T>, avx512::layer_norm_forward_rows<T>,
                    avx512_bf16::layer_norm_forward_rows<T>);
    cpu::parallel_for(stream, rows, cpu::task_rows(cols),
                      [&](int64_t begin, int64_t end) { forward(arguments, begin, end); });
  });
}

void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& statistics, const Tensor& dy,
                         const Tensor& dx, const Tensor& dweight, const Tensor& dbias, Stream stream) {
  const Check check{"layer_norm_backward", stream};
  check.floats("x", x, 2);
  TESSERA_CHECK(x.shape()[1] > 0, check.op, ": x must be [rows, cols > 0], got ", x.shape());
  check.tensor("weight", weight, {x.shape()[1]}, x.dtype());
  check.tensor("statistics", statistics, {x.shape()[0], 2}, DType::f32);
  check.tensor("dy", dy, x.shape(), x.dtype());
  check.tensor("dx", dx, x.shape(), x.dtype());
  check.tensor("dweight", dweight, {x.shape()[1]}, DType::f32);
  check.tensor("dbias", dbias, {x.shape()[1]}, DType::f32);
  on_backend(stream, [&]<Backend B>() {
    layer_norm_backward<B>(x, weight, statistics, dy, dx, dweight, dbias, stream);
  });
}

template <>
void layer_norm_backward<Backend::cpu>(const Tensor& x, const Tensor& weight, const Tensor& statistics,
                                       const Tensor& dy, const Tensor& dx, const Tensor& dweight,
                                       const Tensor& dbias, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "layer_norm_backward", x, dy, dx, statistics);
  const int64_t rows = x.shape()[0], cols = x.shape()[1];
  const Tensor sums = Tensor::empty({2 * cols}, DType::f32, stream);  // dweight, dbias
  visit_float(x.dtype(), [&]<class T>() {
    const LayerNormBackward<T> arguments{x.data<T>(),  weight.data<T>(), statistics.data<float>(),
                                         dy.data<T>(), dx.data<T>(),     cols};
    auto* const backward =
        cpu::select(stream, avx2::layer_norm_backward_rows<T>, avx512::layer_norm_backward_rows<T>,
                    avx512_bf16::layer_norm_backward_rows<T>);
    cpu::column_sums(
        stream, rows, 2 * cols, sums.data<float>(),
        [&](float* partial, int64_t begin, int64_t end) { backward(arguments, partial, begin, end); });
  });
  copy(sums.slice(0, {cols}), dweight);
  copy(sums.slice(cols, {cols}), dbias);
}

}  // namespace tessera::kernels
