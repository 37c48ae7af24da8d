#include "kernels/qk_norm.h"

#include <cmath>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

namespace tessera::kernels {
namespace {

template <class T>
struct ForwardHeads {
  const T *x, *weight, *bias;
  const float* table;
  T* y;
  float* statistics;
  int64_t heads, cols;
  float epsilon;
};

template <class T>
struct BackwardHeads {
  const T *x, *weight;
  const float *table, *statistics;
  const T* dy;
  T* dx;
  int64_t heads, cols;
};

}  // namespace
}  // namespace tessera::kernels

#define TESSERA_KERNELS "kernels/cpu/qk_norm.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

/// Throws Error unless what both directions read fits.
void check_operands(const Check& check, const Tensor& x, const Tensor& weight, const Tensor& table,
                    const Tensor& statistics) {
  check.floats("x", x, 3);
  const int64_t rows = x.shape()[0], heads = x.shape()[1], head_dim = x.shape()[2];
  TESSERA_CHECK(head_dim > 0 && head_dim % 2 == 0, check.op, ": head_dim must be even and not 0, got ",
                x.shape());
  check.tensor("weight", weight, {head_dim}, x.dtype());
  check.tensor("table", table, {rows, head_dim}, DType::f32);
  check.tensor("statistics", statistics, {rows * heads, 2}, DType::f32);
}

}  // namespace

void qk_norm_forward(const QkNormForward& tensors, float epsilon, Stream stream) {
  const auto& [x, weight, bias, table, y, statistics] = tensors;
  const Check check{"qk_norm_forward", stream};
  check_operands(check, x, weight, table, statistics);
  check.tensor("bias", bias, weight.shape(), x.dtype());
  check.tensor("y", y, x.shape(), x.dtype());
  on_backend(stream, [&]<Backend B>() { qk_norm_forward<B>(tensors, epsilon, stream); });
}

template <>
void qk_norm_forward<Backend::cpu>(const QkNormForward& tensors, float epsilon, Stream stream) {
  const auto& [x, weight, bias, table, y, statistics] = tensors;
  const TraceRange range = cpu::kernel_range(stream, "qk_norm_forward", x, table, y, statistics);
  const int64_t heads = x.shape()[1], cols = x.shape()[2];
  visit_float(x.dtype(), [&]<class T>() {
    const ForwardHeads<T> arguments{
        x.data<T>(), weight.data<T>(),         bias.data<T>(), table.data<float>(),
        y.data<T>(), statistics.data<float>(), heads,          cols,
        epsilon};
    auto* const forward =
        cpu::select(stream, avx2::qk_norm_forward_heads<T>, avx512::qk_norm_forward_heads<T>,
                    avx512_bf16::qk_norm_forward_heads<T>);
    cpu::parallel_for(stream, x.shape()[0] * heads, cpu::task_rows(cols),
                      [&](int64_t begin, int64_t end) { forward(arguments, begin, end); });
  });
}

void qk_norm_backward(const QkNormBackward& tensors, Stream stream) {
  const auto& [x, weight, table, statistics, dy, dx, dweight, dbias] = tensors;
  const Check check{"qk_norm_backward", stream};
  check_operands(check, x, weight, table, statistics);
  check.tensor("dy", dy, x.shape(), x.dtype());
  check.tensor("dx", dx, x.shape(), x.dtype());
  check.tensor("dweight", dweight, weight.shape(), DType::f32);
  check.tensor("dbias", dbias, weight.shape(), DType::f32);
  on_backend(stream, [&]<Backend B>() { qk_norm_backward<B>(tensors, stream); });
}

template <>
void qk_norm_backward<Backend::cpu>(const QkNormBackward& tensors, Stream stream) {
  const auto& [x, weight, table, statistics, dy, dx, dweight, dbias] = tensors;
  const TraceRange range = cpu::kernel_range(stream, "qk_norm_backward", x, table, statistics, dy, dx);
  const int64_t heads = x.shape()[1], cols = x.shape()[2];
  const Tensor sums = Tensor::empty({2 * cols}, DType::f32, stream);  // dweight, dbias
  visit_float(x.dtype(), [&]<class T>() {
    const BackwardHeads<T> arguments{x.data<T>(),
                                     weight.data<T>(),
                                     table.data<float>(),
                                     statistics.data<float>(),
                                     dy.data<T>(),
                                     dx.data<T>(),
                                     heads,
                                     cols};
    auto* const backward =
        cpu::select(stream, avx2::qk_norm_backward_heads<T>, avx512::qk_norm_backward_heads<T>,
                    avx512_bf16::qk_norm_backward_heads<T>);
    cpu::column_sums(
        stream, x.shape()[0] * heads, 2 * cols, sums.data<float>(),
        [&](float* partial, int64_t begin, int64_t end) { backward(arguments, partial, begin, end); });
  });
  copy(sums.slice(0, {cols}), dweight);
  copy(sums.slice(cols, {cols}), dbias);
}

}  // namespace tessera::kernels
