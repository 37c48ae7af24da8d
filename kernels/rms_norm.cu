#include "kernels/rms_norm.h"

#include "kernels/column_sums.cuh"
#include "kernels/row_group.cuh"

namespace tessera::kernels {
namespace {

template <class T>
struct Forward {
  const T *x, *weight, *residual;  ///< residual may be null
  T* y;
  float* inverse_rms;
  int64_t rows;
  float epsilon;
};

template <class T>
struct Backward {
  const T *x, *weight;
  const float* inverse_rms;
  const T* dy;
  T* dx;
  int64_t rows;
};

constexpr int kThreads = 256;

/// One block per row, of any width.
template <class T>
__global__ void __launch_bounds__(kThreads) forward_rows(Forward<T> a, int64_t cols) {
  const T* x = a.x + blockIdx.x * cols;
  const T* residual = a.residual ? a.residual + blockIdx.x * cols : nullptr;
  T* y = a.y + blockIdx.x * cols;
  float squares = 0;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads)
    squares = fmaf(static_cast<float>(x[c]), static_cast<float>(x[c]), squares);
  squares = block_reduce(squares, Sum{});
  const float inverse = 1 / sqrtf(squares / static_cast<float>(cols) + a.epsilon);
  if (threadIdx.x == 0) a.inverse_rms[blockIdx.x] = inverse;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) {
    const float normal = static_cast<float>(x[c]) * inverse, weight = static_cast<float>(a.weight[c]);
    y[c] = static_cast<T>(residual ? fmaf(weight, normal, static_cast<float>(residual[c])) : weight * normal);
  }
}

/// Rows of at most kMostRowCols columns, in registers: x is read once.
template <class T, bool kVectors>
__global__ void __launch_bounds__(kRowThreads, 3) forward_row_groups(Forward<T> a, RowGroup group) {
  constexpr int N = kVectorElements<T>;
  T* const weights = shared_memory<T>();
  share_row(group, a.weight, weights);
  __syncthreads();
  int64_t row = group.first_row();
  for (int64_t pass = group.passes(a.rows); pass > 0; --pass, row += group.stride()) {
    const bool present = row < a.rows;
    float x[kRowElements], residual[kRowElements];
    load_row<kVectors>(group, a.x + row * group.cols, present, x);
    if (a.residual) load_row<kVectors>(group, a.residual + row * group.cols, present, residual);
    float squares = 0;
#pragma unroll
    for (int e = 0; e < kRowElements; ++e) squares = fmaf(x[e], x[e], squares);
    squares = group_reduce(squares, Sum{}, group.threads);
    const float inverse = 1 / sqrtf(squares / static_cast<float>(group.cols) + a.epsilon);
    if (present && group.member() == 0) a.inverse_rms[row] = inverse;
#pragma unroll
    for (int k = 0; k < kRowElements / N; ++k) {
      float weight[N], y[N];
      load_row_vector<kVectors>(group, weights, true, k, weight);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const float normal = x[k * N + n] * inverse;
        y[n] = a.residual ? fmaf(weight[n], normal, residual[k * N + n]) : weight[n] * normal;
      }
      store_row_vector<kVectors>(group, a.y + row * group.cols, present, k, y);
    }
  }
}

/// dx, one block per row, of any width.
template <class T>
__global__ void __launch_bounds__(kThreads) backward_rows(Backward<T> a, int64_t cols) {
  const T* x = a.x + blockIdx.x * cols;
  const T* dy = a.dy + blockIdx.x * cols;
  T* dx = a.dx + blockIdx.x * cols;
  const float inverse = a.inverse_rms[blockIdx.x];
  float product = 0;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads)
    product =
        fmaf(static_cast<float>(a.weight[c]) * static_cast<float>(dy[c]), static_cast<float>(x[c]), product);
  product = block_reduce(product, Sum{});
  const float slope = -inverse * inverse * (product / static_cast<float>(cols));
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) {
    const float g = static_cast<float>(a.weight[c]) * static_cast<float>(dy[c]);
    dx[c] = static_cast<T>(inverse * fmaf(static_cast<float>(x[c]), slope, g));
  }
}

/// dweight, one thread per column; before backward_rows, which may write dx over dy.
template <class T>
__global__ void __launch_bounds__(kThreads) backward_columns(Backward<T> a, int64_t cols, float* dweight) {
  const int64_t col = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (col >= cols) return;
  float sum = 0;
  for (int64_t row = 0; row < a.rows; ++row)
    sum = fmaf(static_cast<float>(a.dy[row * cols + col]),
               static_cast<float>(a.x[row * cols + col]) * a.inverse_rms[row], sum);
  dweight[col] = sum;
}

/// dx and the block's part of dweight; rows of at most kMostRowCols columns, in registers: x and dy are read
/// once.
template <class T, bool kVectors>
__global__ void __launch_bounds__(kColumnThreads)
    backward_row_groups(Backward<T> a, RowGroup group, float* partials) {
  constexpr int N = kVectorElements<T>;
  T* const weights = shared_memory<T>();
  share_row(group, a.weight, weights);
  __syncthreads();
  float dweight[kRowElements] = {};
  int64_t row = group.first_row();
  for (int64_t pass = group.passes(a.rows); pass > 0; --pass, row += group.stride()) {
    const bool present = row < a.rows;
    float x[kRowElements], dy[kRowElements], weight[kRowElements];
    load_row<kVectors>(group, a.x + row * group.cols, present, x);
    load_row<kVectors>(group, a.dy + row * group.cols, present, dy);
    load_row<kVectors>(group, weights, true, weight);
    const float inverse = present ? a.inverse_rms[row] : 0;
    float product = 0;
#pragma unroll
    for (int e = 0; e < kRowElements; ++e) product = fmaf(weight[e] * dy[e], x[e], product);
    product = group_reduce(product, Sum{}, group.threads);
    const float slope = -inverse * inverse * (product / static_cast<float>(group.cols));
#pragma unroll
    for (int k = 0; k < kRowElements / N; ++k) {
      float dx[N];
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const int e = k * N + n;
        dweight[e] = fmaf(dy[e], x[e] * inverse, dweight[e]);
        dx[n] = inverse * fmaf(x[e], slope, weight[e] * dy[e]);
      }
      store_row_vector<kVectors>(group, a.dx + row * group.cols, present, k, dx);
    }
  }
  add_up_block(group, dweight, shared_memory<float>(), partials + blockIdx.x * kRowElements * group.threads);
}

}  // namespace

template <>
void rms_norm_forward<Backend::cuda>(const Tensor& x, const Tensor& weight, const Tensor& residual,
                                     const Tensor& y, const Tensor& inverse_rms, float epsilon,
                                     Stream stream) {
  const int64_t rows = x.shape()[0], cols = x.shape()[1];
  visit_float(x.dtype(), [&]<class T>() {
    const Forward<T> arguments{
        x.data<T>(), weight.data<T>(),          residual ? residual.data<T>() : nullptr,
        y.data<T>(), inverse_rms.data<float>(), rows,
        epsilon};
    if (cols > kMostRowCols)
      return launch("rms_norm_forward", &forward_rows<T>, {blocks_for(rows, 1), kThreads}, stream, arguments,
                    cols);
    const RowGroup group{row_group_threads<T>(cols), static_cast<int>(cols)};
    const bool vectors = cols % kVectorElements<T> == 0 &&
                         aligned_for_vectors(arguments.x, arguments.weight, arguments.residual, arguments.y);
    launch("rms_norm_forward", vectors ? &forward_row_groups<T, true> : &forward_row_groups<T, false>,
           {row_blocks(rows, group.threads, kRowThreads, kRowBlocks), kRowThreads, cols * sizeof(T)}, stream,
           arguments, group);
  });
}

template <>
void rms_norm_backward<Backend::cuda>(const Tensor& x, const Tensor& weight, const Tensor& inverse_rms,
                                      const Tensor& dy, const Tensor& dx, const Tensor& dweight,
                                      Stream stream) {
  const int64_t rows = x.shape()[0], cols = x.shape()[1];
  visit_float(x.dtype(), [&]<class T>() {
    const Backward<T> arguments{x.data<T>(),  weight.data<T>(), inverse_rms.data<float>(),
                                dy.data<T>(), dx.data<T>(),     rows};
    if (cols > kMostRowCols) {
      launch("rms_norm_backward: dweight", &backward_columns<T>, {blocks_for(cols, kThreads), kThreads},
             stream, arguments, cols, dweight.data<float>());
      return launch("rms_norm_backward", &backward_rows<T>, {blocks_for(rows, 1), kThreads}, stream,
                    arguments, cols);
    }
    const RowGroup group{row_group_threads<T>(cols), static_cast<int>(cols)};
    const bool vectors = cols % kVectorElements<T> == 0 &&
                         aligned_for_vectors(arguments.x, arguments.weight, arguments.dy, arguments.dx);
    const unsigned blocks = row_blocks(rows, group.threads, kColumnThreads, kColumnBlocks);
    const Tensor partials = Tensor::empty({blocks, kRowElements * group.threads}, DType::f32, stream);
    launch("rms_norm_backward", vectors ? &backward_row_groups<T, true> : &backward_row_groups<T, false>,
           {blocks, kColumnThreads, std::max(cols * sizeof(T), column_sum_bytes(group.threads))}, stream,
           arguments, group, partials.data<float>());
    add_up_blocks("rms_norm_backward: dweight", partials.data<float>(), blocks, group, kVectorElements<T>,
                  dweight, stream);
  });
}

}  // namespace tessera::kernels
