#include "kernels/qk_norm.h"

#include "kernels/column_sums.cuh"
#include "kernels/rope.cuh"
#include "kernels/row_group.cuh"

namespace tessera::kernels {
namespace {

// A row of the kernels is one head of a row of x.

template <class T>
struct Forward {
  const T *x, *weight, *bias;
  const float* table;
  T* y;
  float* statistics;
  int64_t rows;
  int heads;
  float epsilon;
};

template <class T>
struct Backward {
  const T *x, *weight;
  const float *table, *statistics;
  const T* dy;
  T* dx;
  int64_t rows;
  int heads;
};

constexpr int kThreads = 256;

/// One block per row, of any width.
template <class T>
__global__ void __launch_bounds__(kThreads) forward_rows(Forward<T> a, int64_t cols) {
  const T* x = a.x + blockIdx.x * cols;
  T* y = a.y + blockIdx.x * cols;
  const float* table = a.table + blockIdx.x / a.heads * cols;
  const float count = static_cast<float>(cols);
  float sum = 0;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) sum += static_cast<float>(x[c]);
  const float mean = block_reduce(sum, Sum{}) / count;
  float squares = 0;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) {
    const float distance = static_cast<float>(x[c]) - mean;
    squares = fmaf(distance, distance, squares);
  }
  const float inverse = 1 / sqrtf(block_reduce(squares, Sum{}) / count + a.epsilon);
  if (threadIdx.x == 0) {
    a.statistics[2 * blockIdx.x] = mean;
    a.statistics[2 * blockIdx.x + 1] = inverse;
  }
  for (int64_t c = 2 * threadIdx.x; c < cols; c += 2 * kThreads) {
    float pair[2], weight[2], turn[2];
    load_some(x + c, 2, pair);
    load_some(a.weight + c, 2, weight);
    load_some(table + c, 2, turn);
    for (int n = 0; n < 2; ++n)
      pair[n] = fmaf(weight[n], (pair[n] - mean) * inverse, static_cast<float>(a.bias[c + n]));
    turn_pairs<false>(pair, turn);
    store_some(y + c, 2, pair);
  }
}

/// Rows of at most kMostRowCols columns, in registers: x is read once.
template <class T, bool kVectors>
__global__ void __launch_bounds__(kRowThreads, 3) forward_row_groups(Forward<T> a, RowGroup group) {
  constexpr int N = kVectorElements<T>;
  T* const weights = shared_memory<T>();
  T* const biases = weights + padded_cols<T>(group.cols);
  share_row(group, a.weight, weights);
  share_row(group, a.bias, biases);
  __syncthreads();
  const float count = static_cast<float>(group.cols);
  int64_t row = group.first_row();
  for (int64_t pass = group.passes(a.rows); pass > 0; --pass, row += group.stride()) {
    const bool present = row < a.rows;
    float x[kRowElements];
    load_row<kVectors>(group, a.x + row * group.cols, present, x);
    float sum = 0;
#pragma unroll
    for (int e = 0; e < kRowElements; ++e) sum += x[e];
    const float mean = group_reduce(sum, Sum{}, group.threads) / count;
    float squares = 0;
#pragma unroll
    for (int e = 0; e < kRowElements; ++e) {
      const float distance = within_row<T>(group, e) ? x[e] - mean : 0;
      squares = fmaf(distance, distance, squares);
    }
    squares = group_reduce(squares, Sum{}, group.threads);
    const float inverse = 1 / sqrtf(squares / count + a.epsilon);
    if (present && group.member() == 0) {
      a.statistics[2 * row] = mean;
      a.statistics[2 * row + 1] = inverse;
    }
    const float* const table = a.table + row / a.heads * group.cols;
#pragma unroll
    for (int k = 0; k < kRowElements / N; ++k) {
      float weight[N], y[N], turn[N];
      load_row_vector<kVectors>(group, weights, true, k, weight);
      load_row_vector<kVectors>(group, biases, true, k, y);
#pragma unroll
      for (int n = 0; n < N; ++n) y[n] = fmaf(weight[n], (x[k * N + n] - mean) * inverse, y[n]);
      load_row_vector<kVectors>(group, table, present, k, turn);
      turn_pairs<false>(y, turn);
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
  const float* table = a.table + blockIdx.x / a.heads * cols;
  const float mean = a.statistics[2 * blockIdx.x], inverse = a.statistics[2 * blockIdx.x + 1];
  const auto load_pair = [&](int64_t c, float(&g)[2], float(&normal)[2]) {
    float turn[2];
    load_some(x + c, 2, normal);
    load_some(dy + c, 2, g);
    load_some(table + c, 2, turn);
    turn_pairs<true>(g, turn);
    for (int n = 0; n < 2; ++n) {
      g[n] *= static_cast<float>(a.weight[c + n]);
      normal[n] = (normal[n] - mean) * inverse;
    }
  };
  float g[2], normal[2], sum_g = 0, sum_gn = 0;
  for (int64_t c = 2 * threadIdx.x; c < cols; c += 2 * kThreads) {
    load_pair(c, g, normal);
    for (int n = 0; n < 2; ++n) {
      sum_g += g[n];
      sum_gn = fmaf(g[n], normal[n], sum_gn);
    }
  }
  const float mean_g = block_reduce(sum_g, Sum{}) / static_cast<float>(cols);
  const float mean_gn = block_reduce(sum_gn, Sum{}) / static_cast<float>(cols);
  for (int64_t c = 2 * threadIdx.x; c < cols; c += 2 * kThreads) {
    load_pair(c, g, normal);
    for (int n = 0; n < 2; ++n) g[n] = inverse * fmaf(normal[n], -mean_gn, g[n] - mean_g);
    store_some(dx + c, 2, g);
  }
}

/// dweight and dbias, one thread per pair of columns; before backward_rows, which may write dx over dy.
template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_columns(Backward<T> a, int64_t cols, float* dweight, float* dbias) {
  const int64_t col = 2 * (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  if (col >= cols) return;
  float weight[2] = {}, bias[2] = {};
  for (int64_t row = 0; row < a.rows; ++row) {
    float d[2], turn[2];
    load_some(a.dy + row * cols + col, 2, d);
    load_some(a.table + row / a.heads * cols + col, 2, turn);
    turn_pairs<true>(d, turn);
    for (int n = 0; n < 2; ++n) {
      const float distance = static_cast<float>(a.x[row * cols + col + n]) - a.statistics[2 * row];
      weight[n] = fmaf(d[n], distance * a.statistics[2 * row + 1], weight[n]);
      bias[n] += d[n];
    }
  }
  store_some(dweight + col, 2, weight);
  store_some(dbias + col, 2, bias);
}

/// dx and the block's parts of dweight and dbias; rows of at most kMostRowCols columns, in registers: x and
/// dy are read once.
template <class T, bool kVectors>
__global__ void __launch_bounds__(kColumnThreads)
    backward_row_groups(Backward<T> a, RowGroup group, float* weight_partials, float* bias_partials) {
  constexpr int N = kVectorElements<T>;
  T* const weights = shared_memory<T>();
  share_row(group, a.weight, weights);
  __syncthreads();
  const float count = static_cast<float>(group.cols);
  float dweight[kRowElements] = {}, dbias[kRowElements] = {};
  int64_t row = group.first_row();
  for (int64_t pass = group.passes(a.rows); pass > 0; --pass, row += group.stride()) {
    const bool present = row < a.rows;
    float x[kRowElements], dy[kRowElements], weight[kRowElements];
    load_row<kVectors>(group, a.dy + row * group.cols, present, dy);
    const float* const table = a.table + row / a.heads * group.cols;
#pragma unroll
    for (int k = 0; k < kRowElements / N; ++k) {  // from here on dy is turned back
      float turn[N];
      load_row_vector<kVectors>(group, table, present, k, turn);
      turn_pairs<true>(dy + k * N, turn);
    }
    load_row<kVectors>(group, a.x + row * group.cols, present, x);
    load_row<kVectors>(group, weights, true, weight);
    const float mean = present ? a.statistics[2 * row] : 0;
    const float inverse = present ? a.statistics[2 * row + 1] : 0;
    float sum_g = 0, sum_gn = 0;
#pragma unroll
    for (int e = 0; e < kRowElements; ++e) {  // from here on x is normalised and weight is g
      x[e] = (x[e] - mean) * inverse;
      weight[e] *= dy[e];
      sum_g += weight[e];
      sum_gn = fmaf(weight[e], x[e], sum_gn);
    }
    const float mean_g = group_reduce(sum_g, Sum{}, group.threads) / count;
    const float mean_gn = group_reduce(sum_gn, Sum{}, group.threads) / count;
#pragma unroll
    for (int k = 0; k < kRowElements / N; ++k) {
      float dx[N];
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const int e = k * N + n;
        dweight[e] = fmaf(dy[e], x[e], dweight[e]);
        dbias[e] += dy[e];
        dx[n] = inverse * fmaf(x[e], -mean_gn, weight[e] - mean_g);
      }
      store_row_vector<kVectors>(group, a.dx + row * group.cols, present, k, dx);
    }
  }
  const int64_t at = blockIdx.x * kRowElements * group.threads;
  add_up_block(group, dweight, shared_memory<float>(), weight_partials + at);
  add_up_block(group, dbias, shared_memory<float>(), bias_partials + at);
}

}  // namespace

template <>
void qk_norm_forward<Backend::cuda>(const QkNormForward& tensors, float epsilon, Stream stream) {
  const auto& [x, weight, bias, table, y, statistics] = tensors;
  const int64_t heads = x.shape()[1], rows = x.shape()[0] * heads, cols = x.shape()[2];
  visit_float(x.dtype(), [&]<class T>() {
    const Forward<T> arguments{x.data<T>(),           weight.data<T>(),
                               bias.data<T>(),        table.data<float>(),
                               y.data<T>(),           statistics.data<float>(),
                               rows,                  static_cast<int>(heads),
                               epsilon};
    if (cols > kMostRowCols)
      return launch("qk_norm_forward", &forward_rows<T>, {blocks_for(rows, 1), kThreads}, stream, arguments,
                    cols);
    const RowGroup group{row_group_threads<T>(cols), static_cast<int>(cols)};
    const bool vectors = cols % kVectorElements<T> == 0 &&
                         aligned_for_vectors(arguments.x, arguments.weight, arguments.bias, arguments.table,
                                             arguments.y);
    launch("qk_norm_forward", vectors ? &forward_row_groups<T, true> : &forward_row_groups<T, false>,
           {row_blocks(rows, group.threads, kRowThreads, kRowBlocks), kRowThreads,
            2 * padded_cols<T>(cols) * sizeof(T)},
           stream, arguments, group);
  });
}

template <>
void qk_norm_backward<Backend::cuda>(const QkNormBackward& tensors, Stream stream) {
  const auto& [x, weight, table, statistics, dy, dx, dweight, dbias] = tensors;
  const int64_t heads = x.shape()[1], rows = x.shape()[0] * heads, cols = x.shape()[2];
  visit_float(x.dtype(), [&]<class T>() {
    const Backward<T> arguments{x.data<T>(),
                                weight.data<T>(),
                                table.data<float>(),
                                statistics.data<float>(),
                                dy.data<T>(),
                                dx.data<T>(),
                                rows,
                                static_cast<int>(heads)};
    if (cols > kMostRowCols) {
      launch("qk_norm_backward: dweight, dbias", &backward_columns<T>,
             {blocks_for(cols / 2, kThreads), kThreads}, stream, arguments, cols, dweight.data<float>(),
             dbias.data<float>());
      return launch("qk_norm_backward", &backward_rows<T>, {blocks_for(rows, 1), kThreads}, stream, arguments,
                    cols);
    }
    const RowGroup group{row_group_threads<T>(cols), static_cast<int>(cols)};
    const bool vectors = cols % kVectorElements<T> == 0 &&
                         aligned_for_vectors(arguments.x, arguments.weight, arguments.table, arguments.dy,
                                             arguments.dx);
    const unsigned blocks = row_blocks(rows, group.threads, kColumnThreads, kColumnBlocks);
    const Tensor partials = Tensor::empty({2, blocks, kRowElements * group.threads}, DType::f32, stream);
    float *const weight_partials = partials.data<float>(), *const bias_partials =
                                                               weight_partials + partials.count() / 2;
    launch("qk_norm_backward", vectors ? &backward_row_groups<T, true> : &backward_row_groups<T, false>,
           {blocks, kColumnThreads, std::max(cols * sizeof(T), column_sum_bytes(group.threads))}, stream,
           arguments, group, weight_partials, bias_partials);
    add_up_blocks("qk_norm_backward: dweight", weight_partials, blocks, group, kVectorElements<T>, dweight,
                  stream);
    add_up_blocks("qk_norm_backward: dbias", bias_partials, blocks, group, kVectorElements<T>, dbias, stream);
  });
}

}  // namespace tessera::kernels
