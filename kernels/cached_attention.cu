#include "kernels/cached_attention.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kChunk = 64;  // keys of a warp: long sequences keep a whole GPU busy with few rows
constexpr int kMostHeadDim = 256;

/// One item is one head of one row.  outputs, statistics: of each item and chunk, what merge_chunks wants.
template <class T>
struct CachedHeads {
  const T *q, *keys, *values;
  const int32_t *sequence, *visible;
  float* outputs;      ///< [items, chunks, head_dim]
  float2* statistics;  ///< [items, chunks]: the largest score and the sum of e^(score - largest)
  T* y;
  int64_t items, chunks, capacity;
  int sequences, heads, head_dim;
  int lanes;  ///< that share a key: a power of two
  float scale;
};

/// e^(score - largest) needs a number to subtract as long as all scores are minus infinity.
__device__ float finite_shift(float largest) { return largest == -INFINITY ? 0 : largest; }

/// The softmax over some keys, for the columns of a thread.
template <int kVecs, int N>
struct PartialSoftmax {
  float largest = -INFINITY, sum = 0, output[kVecs][N] = {};

  __device__ void raise(float most) {
    const float shrink = expf(largest - finite_shift(most));
    largest = most;
    sum *= shrink;
#pragma unroll
    for (int v = 0; v < kVecs; ++v)
#pragma unroll
      for (int n = 0; n < N; ++n) output[v][n] *= shrink;
  }
  __device__ void add(float score, const float (&value)[kVecs][N]) {
    const float p = expf(score - finite_shift(largest));
    sum += p;
#pragma unroll
    for (int v = 0; v < kVecs; ++v)
#pragma unroll
      for (int n = 0; n < N; ++n) output[v][n] = fmaf(p, value[v][n], output[v][n]);
  }
  /// Adds that of the lane with this bit flipped.
  __device__ void merge(int bit) {
    raise(fmaxf(largest, __shfl_xor_sync(kFullMask, largest, bit)));
    sum += __shfl_xor_sync(kFullMask, sum, bit);
#pragma unroll
    for (int v = 0; v < kVecs; ++v)
#pragma unroll
      for (int n = 0; n < N; ++n) output[v][n] += __shfl_xor_sync(kFullMask, output[v][n], bit);
  }
};

/// One warp takes one chunk of the keys of one item.  Groups of lanes take keys in turn, kBatch at a time, a lane N
/// neighbouring columns per vector.
template <bool kVectors, int kVecs, class T>
__global__ void __launch_bounds__(kThreads) attend_chunks(CachedHeads<T> a) {
  constexpr int N = kVectorElements<T>, kBatch = 4 / kVecs;
  const int64_t task = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (task >= a.items * a.chunks) return;
  const int64_t item = task / a.chunks;
  const int sequence = a.sequence[item / a.heads], visible = a.visible[item / a.heads];
  require(0 <= sequence && sequence < a.sequences && 1 <= visible && visible <= a.capacity);
  const int first = int(task % a.chunks) * kChunk, last = min(first + kChunk, visible);
  if (first >= last) return;
  const int group = threadIdx.x % kWarp / a.lanes, groups = kWarp / a.lanes;
  const auto column = [&](int v) { return (v * a.lanes + int(threadIdx.x) % a.lanes) * N; };
  const auto load_columns = [&](const T* row, bool present, float(&x)[kVecs][N]) {
#pragma unroll
    for (int v = 0; v < kVecs; ++v)
      load<kVectors>(row + column(v), present ? a.head_dim - column(v) : 0, x[v]);
  };
  float q[kVecs][N];
  load_columns(a.q + item * a.head_dim, true, q);
  const int64_t stride = int64_t{a.heads} * a.head_dim;
  const int64_t begin = sequence * a.capacity * stride + item % a.heads * a.head_dim;
  PartialSoftmax<kVecs, N> softmax;
  for (int base = first; base < last; base += groups * kBatch) {
    float scores[kBatch], values[kBatch][kVecs][N];
    float most = softmax.largest;
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int key = base + b * groups + group;
      float k[kVecs][N], dot = 0;
      load_columns(a.keys + begin + key * stride, key < last, k);
      load_columns(a.values + begin + key * stride, key < last, values[b]);
#pragma unroll
      for (int v = 0; v < kVecs; ++v)
#pragma unroll
        for (int n = 0; n < N; ++n) dot = fmaf(q[v][n], k[v][n], dot);
      dot = warp_reduce(dot, Sum{}, a.lanes);
      scores[b] = key < last ? a.scale * dot : -INFINITY;
      most = fmaxf(most, scores[b]);
    }
    softmax.raise(most);
#pragma unroll
    for (int b = 0; b < kBatch; ++b) softmax.add(scores[b], values[b]);
  }
  for (int bit = a.lanes; bit < kWarp; bit *= 2) softmax.merge(bit);
  if (group > 0) return;
#pragma unroll
  for (int v = 0; v < kVecs; ++v)
#pragma unroll
    for (int n = 0; n < N; n += 4) {
      const float part[4] = {softmax.output[v][n], softmax.output[v][n + 1], softmax.output[v][n + 2],
                             softmax.output[v][n + 3]};
      const int col = column(v) + n;
      store<kVectors>(a.outputs + task * a.head_dim + col, a.head_dim - col, part);
    }
  if (threadIdx.x % kWarp == 0) a.statistics[task] = {softmax.largest, softmax.sum};
}

/// One thread makes one element of y, from its chunks in order.
template <class T>
__global__ void __launch_bounds__(kThreads) merge_chunks(CachedHeads<T> a) {
  const int64_t element = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (element >= a.items * a.head_dim) return;
  const int64_t item = element / a.head_dim, col = element % a.head_dim;
  const int chunks = (a.visible[item / a.heads] + kChunk - 1) / kChunk;
  PartialSoftmax<1, 1> softmax;
  for (int64_t task = item * a.chunks; task < item * a.chunks + chunks; ++task) {
    const float2 chunk = a.statistics[task];
    softmax.raise(fmaxf(softmax.largest, chunk.x));
    const float factor = expf(chunk.x - finite_shift(softmax.largest));
    softmax.sum = fmaf(factor, chunk.y, softmax.sum);
    softmax.output[0][0] = fmaf(factor, a.outputs[task * a.head_dim + col], softmax.output[0][0]);
  }
  a.y[element] = T(softmax.output[0][0] / softmax.sum);
}

template <class T>
void launch_chunks(const CachedHeads<T>& a, Stream stream) {
  constexpr int N = kVectorElements<T>, kMostVecs = kMostHeadDim / (kWarp * N);
  const bool vectors = a.head_dim % N == 0 && aligned_for_vectors(a.q, a.keys, a.values);
  auto* const kernel =
      a.head_dim <= kWarp * N
          ? (vectors ? &attend_chunks<true, 1, T> : &attend_chunks<false, 1, T>)
          : (vectors ? &attend_chunks<true, kMostVecs, T> : &attend_chunks<false, kMostVecs, T>);
  launch("cached_attention", kernel, {blocks_for(a.items * a.chunks, kWarps), kThreads}, stream, a);
  launch("cached_attention", &merge_chunks<T>, {blocks_for(a.items * a.head_dim, kThreads), kThreads}, stream,
         a);
}

}  // namespace

template <>
void cached_attention<Backend::cuda>(const CachedAttention& tensors, int64_t capacity, Stream stream) {
  const int64_t heads = tensors.q.shape()[1], head_dim = tensors.q.shape()[2];
  const int64_t items = tensors.q.shape()[0] * heads, chunks = (capacity + kChunk - 1) / kChunk;
  const Tensor outputs = Tensor::empty({items, chunks, head_dim}, DType::f32, stream),
               statistics = Tensor::empty({items, chunks, 2}, DType::f32, stream);
  visit_float(tensors.q.dtype(), [&]<class T>() {
    const auto vectors = static_cast<unsigned>((head_dim + kVectorElements<T> - 1) / kVectorElements<T>);
    launch_chunks<T>({tensors.q.data<T>(),
                      tensors.keys.data<T>(),
                      tensors.values.data<T>(),
                      tensors.sequence.data<int32_t>(),
                      tensors.visible.data<int32_t>(),
                      outputs.data<float>(),
                      reinterpret_cast<float2*>(statistics.data<float>()),
                      tensors.y.data<T>(),
                      items,
                      chunks,
                      capacity,
                      static_cast<int>(tensors.keys.shape()[0] / capacity),
                      static_cast<int>(heads),
                      static_cast<int>(head_dim),
                      static_cast<int>(std::min(std::bit_ceil(vectors), unsigned{kWarp})),
                      1 / std::sqrt(static_cast<float>(head_dim))},
                     stream);
  });
}

}  // namespace tessera::kernels
