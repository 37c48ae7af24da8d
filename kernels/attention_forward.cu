// y and log_sum of attention: on tensor cores where the heads allow it, and in plain f32.

#include <cmath>

#include "kernels/attention.cuh"
#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"

namespace tessera::kernels {
namespace {

template <class T>
struct AttentionForward {
  const T *q, *k, *v;
  T* y;
  float* log_sum;
};

// --- plain: a warp per query ---

constexpr int kPlainWarps = 8;

/// Lanes hold elements lane, lane + 32, ... of the row; the sum so far lies in shared memory, each element
/// its lane's own.
template <class T>
__global__ void __launch_bounds__(kPlainWarps* kWarp)
    attention_forward_rows(AttentionShape shape, AttentionForward<T> a) {
  const AttentionBlock block(shape);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, head_dim = shape.head_dim;
  const int query = block.first + warp, seen = query < block.length ? query + 1 : 0;
  const int64_t stride = shape.stride();
  const T* const q = a.q + block.element + query * stride;
  float* const output = shared_memory<float>() + warp * head_dim;
  for (int c = lane; c < head_dim; c += kWarp) output[c] = 0;
  float largest = -INFINITY, sum = 0;
  for (int key = 0; key < seen; ++key) {
    const T* const k = a.k + block.element + key * stride;
    const T* const v = a.v + block.element + key * stride;
    float score = 0;
    for (int c = lane; c < head_dim; c += kWarp) score = fmaf(float(q[c]), float(k[c]), score);
    score = shape.scale * warp_reduce(score, Sum{});
    const float most = fmaxf(largest, score);
    const float shrink = expf(largest - most), p = expf(score - most);
    for (int c = lane; c < head_dim; c += kWarp) output[c] = fmaf(p, float(v[c]), shrink * output[c]);
    sum = fmaf(shrink, sum, p);
    largest = most;
  }
  if (seen > 0) {
    T* const y = a.y + block.element + query * stride;
    for (int c = lane; c < head_dim; c += kWarp) y[c] = T(output[c] / sum);
    if (lane == 0) a.log_sum[int64_t(block.head) * shape.rows + block.row + query] = largest + logf(sum);
  }
}

// --- tensor cores: 16 queries per warp, FlashAttention-2, algorithm 1 ---

// Tiles of queries and keys are of one height, so that only a block's last tile of keys meets the diagonal.
constexpr int kTileRows = 64;
constexpr int kThreads = kTileRows / 16 * kWarp;

/// Two stages of keys and values: one is filled while the other is multiplied.  The queries, which move on to
/// registers, arrive in the second stage, and y leaves from the stage that is free at the end.
template <int kDim>
struct ForwardTiles {
  using RowsTile = Tile<kTileRows, kDim>;
  static constexpr int kBytes = 4 * RowsTile::kElements * int(sizeof(bf16));

  bf16* shared;

  __device__ RowsTile keys(int stage) const { return {shared + 2 * stage * RowsTile::kElements}; }
  __device__ RowsTile values(int stage) const { return {shared + (2 * stage + 1) * RowsTile::kElements}; }
};

/// Of a thread's two rows, group and group + 8: the largest score so far, and this thread's part of the sum
/// of 2^(score - largest).
struct OnlineSoftmax {
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

/// scores, in units of log 2, become 2^(score - largest); output and sum follow the new largest.
template <int kN, int kOutputs>
__device__ __forceinline__ void soften(Accumulator (&scores)[kN], OnlineSoftmax& softmax,
                                       Accumulator (&output)[kOutputs]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = softmax.largest[half];
#pragma unroll
    for (int n = 0; n < kN; ++n) most = fmaxf(most, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
    most = warp_reduce(most, Max{}, 4);
    const float shrink = exp2f(softmax.largest[half] - most);
    softmax.largest[half] = most;
    float sum = softmax.sum[half] * shrink;
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) sum += scores[n][e] = exp2f(scores[n][e] - most);
    softmax.sum[half] = sum;
#pragma unroll
    for (int n = 0; n < kOutputs; ++n) output[n][2 * half] *= shrink, output[n][2 * half + 1] *= shrink;
  }
}

/// Scores of a warp's 16 queries, from this row of their tile on, with a tile of keys, times factor.  Where
/// queries and keys are the same rows, those that a query does not see are minus infinity.
template <int kDim, int kN>
__device__ __forceinline__ void score(const Fragment (&queries)[kDim / 16][1], Tile<kTileRows, kDim> keys,
                                      float factor, bool on_diagonal, int first_row,
                                      Accumulator (&scores)[1][kN]) {
#pragma unroll
  for (int d = 0; d < kDim / 16; ++d) multiply_add<Depth::along_rows>(scores, queries[d], keys, 0, d * 16);
  const int lane = threadIdx.x % kWarp, row = first_row + lane / 4;
#pragma unroll
  for (int n = 0; n < kN; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int column = n * 8 + lane % 4 * 2 + e % 2;
      const bool seen = !on_diagonal || column <= row + e / 2 * 8;
      scores[0][n][e] = seen ? scores[0][n][e] * factor : -INFINITY;
    }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads)
    attention_forward_tiles(AttentionShape shape, AttentionForward<bf16> a) {
  const ForwardTiles<kDim> tiles{shared_memory<bf16>()};
  const AttentionBlock block(shape);
  const int lane = threadIdx.x % kWarp, first_row = int(threadIdx.x) / kWarp * 16;
  const auto fill_stage = [&](int tile) {
    fill_async<kThreads>(tiles.keys(tile % 2), block.rows(a.k, shape, tile * kTileRows));
    fill_async<kThreads>(tiles.values(tile % 2), block.rows(a.v, shape, tile * kTileRows));
  };
  fill_async<kThreads>(tiles.keys(1), block.rows(a.q, shape, block.first));
  fill_stage(0);
  wait_for_copies();
  __syncthreads();
  Fragment queries[kDim / 16][1];
#pragma unroll
  for (int d = 0; d < kDim / 16; ++d)
    load_left<Depth::along_rows>(queries[d][0], tiles.keys(1), first_row, d * 16);

  Accumulator output[1][kDim / 8] = {};
  OnlineSoftmax softmax;
  const int last = block.first / kTileRows;
  for (int tile = 0; tile <= last; ++tile) {
    wait_for_copies();
    __syncthreads();  // the stage is whole, and no warp reads the other one any longer
    if (tile < last) fill_stage(tile + 1);
    Accumulator scores[1][kTileRows / 8] = {};
    score<kDim>(queries, tiles.keys(tile % 2), shape.scale * kLog2E, tile == last, first_row, scores);
    soften(scores[0], softmax, output[0]);
    add_weighted(output, scores, tiles.values(tile % 2));
  }

  const float sum[2] = {warp_reduce(softmax.sum[0], Sum{}, 4), warp_reduce(softmax.sum[1], Sum{}, 4)};
  const Tile<kTileRows, kDim> free = tiles.keys((last + 1) % 2);
  put(free, first_row, 0, output[0], 1 / sum[0], 1 / sum[1]);
  __syncwarp();
  write(free, first_row, 16, block.rows(a.y, shape, block.first), lane, kWarp);
  float* const log_sum = a.log_sum + int64_t(block.head) * shape.rows + block.row;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = block.first + first_row + lane / 4 + half * 8;
    if (lane % 4 == 0 && query < block.length)
      log_sum[query] = softmax.largest[half] * kLn2 + logf(sum[half]);
  }
}

}  // namespace

template <>
void attention_forward<Backend::cuda>(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                                      const Tensor& log_sum, AttentionOptions options, Stream stream) {
  if (q.count() == 0) return;
  const bool on_tensor_cores = fits_tensor_cores(q);
  const DeviceRowTiles tiles(
      causal_tiles(options.segments, on_tensor_cores ? kTileRows : kPlainWarps, Work::grows_with_row),
      stream);
  const AttentionShape shape = attention_shape(q, options, tiles, {q, k, v, y});
  const unsigned blocks = blocks_for(tiles.count() * shape.heads, 1);
  if (on_tensor_cores) {
    const AttentionForward<bf16> arguments{q.data<bf16>(), k.data<bf16>(), v.data<bf16>(), y.data<bf16>(),
                                           log_sum.data<float>()};
    visit_head_dim(shape.head_dim, [&]<int kDim>() {
      launch("attention_forward", &attention_forward_tiles<kDim>,
             Grid{{blocks}, {kThreads}, ForwardTiles<kDim>::kBytes}, stream, shape, arguments);
    });
  } else {
    visit_float(q.dtype(), [&]<class T>() {
      const AttentionForward<T> arguments{q.data<T>(), k.data<T>(), v.data<T>(), y.data<T>(),
                                          log_sum.data<float>()};
      launch("attention_forward", &attention_forward_rows<T>,
             Grid{{blocks}, {kPlainWarps * kWarp}, kPlainWarps * shape.head_dim * sizeof(float)}, stream,
             shape, arguments);
    });
  }
}

}  // namespace tessera::kernels
