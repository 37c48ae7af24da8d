// dq, dk and dv of attention.  One kernel per direction of the sums: dq by queries, dk and dv by keys, so
// that every sum stays in one block in a fixed order.  Each on tensor cores where the heads allow it, and in
// plain f32.

#include "kernels/attention.cuh"
#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"

namespace tessera::kernels {
namespace {

template <class T>
struct AttentionGradient {
  const T *q, *k, *v, *dy;
  const float *log_sum, *delta;  ///< [heads, rows]
  T *dq, *dk, *dv;
};

// --- delta ---

constexpr int kDeltaWarps = 4;

/// delta[head, row] = dy . y.  A warp takes 32 rows of a head, one after the other, and writes a line of
/// delta at once.
template <class T>
__global__ void __launch_bounds__(kDeltaWarps* kWarp)
    attention_delta(const T* y, const T* dy, float* delta, int rows, int heads, int head_dim) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int head = blockIdx.x % heads, first = (int(blockIdx.x) / heads * kDeltaWarps + warp) * kWarp;
  float mine = 0;
  for (int i = 0; i < kWarp; ++i) {
    const int64_t element = (int64_t(first + i) * heads + head) * head_dim;
    float sum = 0;
    if (first + i < rows)
      for (int c = lane; c < head_dim; c += kWarp)
        sum = fmaf(float(dy[element + c]), float(y[element + c]), sum);
    sum = warp_reduce(sum, Sum{});
    if (lane == i) mine = sum;
  }
  if (first + lane < rows) delta[int64_t(head) * rows + first + lane] = mine;
}

// --- plain: a warp per row ---

constexpr int kPlainWarps = 8;

/// A weight p[i, j] and ds[i, j], the same in all lanes.
struct Pair {
  float p, ds;
};

/// Lanes share the elements of the rows.
template <class T>
__device__ Pair pair_of_rows(const T* q, const T* k, const T* dy, const T* v, float log_sum, float delta,
                             const AttentionShape& shape) {
  float score = 0, dp = 0;
  for (int c = threadIdx.x % kWarp; c < shape.head_dim; c += kWarp) {
    score = fmaf(float(q[c]), float(k[c]), score);
    dp = fmaf(float(dy[c]), float(v[c]), dp);
  }
  const float p = expf(shape.scale * warp_reduce(score, Sum{}) - log_sum);
  return {p, p * (warp_reduce(dp, Sum{}) - delta)};
}

/// A warp per query.  The sum so far lies in shared memory, each element its lane's own.
template <class T>
__global__ void __launch_bounds__(kPlainWarps* kWarp)
    attention_dq_rows(AttentionShape shape, AttentionGradient<T> a) {
  const AttentionBlock block(shape);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, head_dim = shape.head_dim;
  const int query = block.first + warp, seen = query < block.length ? query + 1 : 0;
  const int64_t stride = shape.stride(), row = block.element + query * stride;
  const int64_t statistic = int64_t(block.head) * shape.rows + block.row + query;
  float* const dq = shared_memory<float>() + warp * head_dim;
  for (int c = lane; c < head_dim; c += kWarp) dq[c] = 0;
  for (int key = 0; key < seen; ++key) {
    const int64_t other = block.element + key * stride;
    const Pair pair = pair_of_rows(a.q + row, a.k + other, a.dy + row, a.v + other, a.log_sum[statistic],
                                   a.delta[statistic], shape);
    for (int c = lane; c < head_dim; c += kWarp) dq[c] = fmaf(pair.ds, float(a.k[other + c]), dq[c]);
  }
  if (seen > 0)
    for (int c = lane; c < head_dim; c += kWarp) a.dq[row + c] = T(shape.scale * dq[c]);
}

/// A warp per key.
template <class T>
__global__ void __launch_bounds__(kPlainWarps* kWarp)
    attention_dkv_rows(AttentionShape shape, AttentionGradient<T> a) {
  const AttentionBlock block(shape);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, head_dim = shape.head_dim;
  const int key = block.first + warp;
  const int64_t stride = shape.stride(), row = block.element + key * stride;
  const int64_t statistics = int64_t(block.head) * shape.rows + block.row;
  float* const dk = shared_memory<float>() + warp * 2 * head_dim;
  float* const dv = dk + head_dim;
  for (int c = lane; c < head_dim; c += kWarp) dk[c] = 0, dv[c] = 0;
  for (int query = key; query < block.length; ++query) {
    const int64_t other = block.element + query * stride;
    const Pair pair = pair_of_rows(a.q + other, a.k + row, a.dy + other, a.v + row,
                                   a.log_sum[statistics + query], a.delta[statistics + query], shape);
    for (int c = lane; c < head_dim; c += kWarp) {
      dk[c] = fmaf(pair.ds, float(a.q[other + c]), dk[c]);
      dv[c] = fmaf(pair.p, float(a.dy[other + c]), dv[c]);
    }
  }
  if (key < block.length)
    for (int c = lane; c < head_dim; c += kWarp) {
      a.dk[row + c] = T(shape.scale * dk[c]);
      a.dv[row + c] = T(dv[c]);
    }
}

// --- tensor cores: FlashAttention-2, algorithm 2, with the loop over the other side inside both kernels ---

// A block keeps 64 rows of one side and goes through the other side by 32: with 64, the two 16 x 64 results
// of a warp beside dk and dv, 16 x 128 each, would not fit the registers.
constexpr int kKept = 64, kMet = 32;
constexpr int kThreads = kKept / 16 * kWarp;

/// Two tiles that the block keeps, two stages of two tiles that it meets, and two stages of the statistics of
/// kMet queries.
template <int kDim>
struct BackwardTiles {
  using Kept = Tile<kKept, kDim>;
  using Met = Tile<kMet, kDim>;
  static constexpr int kElements = 2 * Kept::kElements + 4 * Met::kElements;
  static constexpr int kBytes = kElements * int(sizeof(bf16)) + 4 * kMet * int(sizeof(float));

  bf16* shared;

  __device__ Kept kept(int which) const { return {shared + which * Kept::kElements}; }
  __device__ Met met(int stage, int which) const {
    return {shared + 2 * Kept::kElements + (2 * stage + which) * Met::kElements};
  }
  __device__ float* log_sum(int stage) const {
    return reinterpret_cast<float*>(shared + kElements) + stage * 2 * kMet;
  }
  __device__ float* delta(int stage) const { return log_sum(stage) + kMet; }
};

using Products = Accumulator[1][kMet / 8];

/// first = kept(0) met(0)^T and second = kept(1) met(1)^T, of the warp's 16 kept rows.
template <int kDim>
__device__ __forceinline__ void multiply_pairs(const BackwardTiles<kDim>& tiles, int stage, int first_row,
                                               Products& first, Products& second) {
#pragma unroll
  for (int d = 0; d < kDim; d += 16) {
    Fragment left[1];
    load_left<Depth::along_rows>(left[0], tiles.kept(0), first_row, d);
    multiply_add<Depth::along_rows>(first, left, tiles.met(stage, 0), 0, d);
    load_left<Depth::along_rows>(left[0], tiles.kept(1), first_row, d);
    multiply_add<Depth::along_rows>(second, left, tiles.met(stage, 1), 0, d);
  }
}

/// A score becomes p and dy . v becomes ds; both 0 where the query does not see the key.
__device__ __forceinline__ void differentiate(float& score, float& slope, bool seen, float scale,
                                              float log_sum, float delta) {
  const float p = seen ? exp2f(fmaf(score, scale * kLog2E, -log_sum * kLog2E)) : 0;
  slope = seen ? p * (slope - delta) : 0;
  score = p;
}

/// A block per tile of queries: keeps q and dy, meets k and v.
template <int kDim>
__global__ void __launch_bounds__(kThreads)
    attention_dq_tiles(AttentionShape shape, AttentionGradient<bf16> a) {
  const BackwardTiles<kDim> tiles{shared_memory<bf16>()};
  const AttentionBlock block(shape);
  const int lane = threadIdx.x % kWarp, first_row = int(threadIdx.x) / kWarp * 16;
  const auto fill_stage = [&](int tile) {
    fill_async<kThreads>(tiles.met(tile % 2, 0), block.rows(a.k, shape, tile * kMet));
    fill_async<kThreads>(tiles.met(tile % 2, 1), block.rows(a.v, shape, tile * kMet));
  };
  fill_async<kThreads>(tiles.kept(0), block.rows(a.q, shape, block.first));
  fill_async<kThreads>(tiles.kept(1), block.rows(a.dy, shape, block.first));
  fill_stage(0);

  const int query = block.first + first_row + lane / 4;  // and query + 8
  float log_sum[2] = {}, delta[2] = {};
#pragma unroll
  for (int half = 0; half < 2; ++half)
    if (query + half * 8 < block.length) {
      const int64_t statistic = int64_t(block.head) * shape.rows + block.row + query + half * 8;
      log_sum[half] = a.log_sum[statistic], delta[half] = a.delta[statistic];
    }
  Accumulator dq[1][kDim / 8] = {};
  const int seen = min(block.first + kKept, block.length), count = (seen + kMet - 1) / kMet;
  for (int tile = 0; tile < count; ++tile) {
    wait_for_copies();
    __syncthreads();  // the stage is whole, and no warp reads the other one any longer
    if (tile + 1 < count) fill_stage(tile + 1);
    Products p = {}, ds = {};
    multiply_pairs(tiles, tile % 2, first_row, p, ds);
#pragma unroll
    for (int n = 0; n < kMet / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int key = tile * kMet + n * 8 + lane % 4 * 2 + e % 2;
        differentiate(p[0][n][e], ds[0][n][e], key <= query + e / 2 * 8, shape.scale, log_sum[e / 2],
                      delta[e / 2]);
      }
    add_weighted(dq, ds, tiles.met(tile % 2, 0));
  }
  __syncwarp();  // the kept rows of this warp have been read: results take their place
  put(tiles.kept(0), first_row, 0, dq[0], shape.scale, shape.scale);
  __syncwarp();
  write(tiles.kept(0), first_row, 16, block.rows(a.dq, shape, block.first), lane, kWarp);
}

/// A block per tile of keys: keeps k and v, meets q and dy.  Products are transposed, so that p and ds are
/// left operands.
template <int kDim>
__global__ void __launch_bounds__(kThreads)
    attention_dkv_tiles(AttentionShape shape, AttentionGradient<bf16> a) {
  const BackwardTiles<kDim> tiles{shared_memory<bf16>()};
  const AttentionBlock block(shape);
  const int lane = threadIdx.x % kWarp, first_row = int(threadIdx.x) / kWarp * 16;
  const int64_t statistics = int64_t(block.head) * shape.rows + block.row;
  const auto fill_stage = [&](int tile) {
    const int first = block.first + tile * kMet, stage = tile % 2;
    fill_async<kThreads>(tiles.met(stage, 0), block.rows(a.q, shape, first));
    fill_async<kThreads>(tiles.met(stage, 1), block.rows(a.dy, shape, first));
    // Zeros for queries that do not exist: their q and dy are zeros too, and add nothing.
    if (threadIdx.x < kMet) {
      const int query = first + int(threadIdx.x), bytes = query < block.length ? 4 : 0;
      const int64_t statistic = statistics + min(query, block.length - 1);
      copy_4_async(tiles.log_sum(stage) + threadIdx.x, a.log_sum + statistic, bytes);
      copy_4_async(tiles.delta(stage) + threadIdx.x, a.delta + statistic, bytes);
    }
  };
  fill_async<kThreads>(tiles.kept(0), block.rows(a.k, shape, block.first));
  fill_async<kThreads>(tiles.kept(1), block.rows(a.v, shape, block.first));
  fill_stage(0);

  const int key = block.first + first_row + lane / 4;  // and key + 8
  Accumulator dk[1][kDim / 8] = {}, dv[1][kDim / 8] = {};
  const int count = (block.length - block.first + kMet - 1) / kMet;
  for (int tile = 0; tile < count; ++tile) {
    const int stage = tile % 2;
    wait_for_copies();
    __syncthreads();  // the stage is whole, and no warp reads the other one any longer
    if (tile + 1 < count) fill_stage(tile + 1);
    Products p = {}, ds = {};
    multiply_pairs(tiles, stage, first_row, p, ds);
#pragma unroll
    for (int n = 0; n < kMet / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int column = n * 8 + lane % 4 * 2 + e % 2, query = block.first + tile * kMet + column;
        differentiate(p[0][n][e], ds[0][n][e], key + e / 2 * 8 <= query, shape.scale,
                      tiles.log_sum(stage)[column], tiles.delta(stage)[column]);
      }
    add_weighted(dv, p, tiles.met(stage, 1));
    add_weighted(dk, ds, tiles.met(stage, 0));
  }
  __syncwarp();  // the kept rows of this warp have been read: results take their place
  put(tiles.kept(0), first_row, 0, dk[0], shape.scale, shape.scale);
  put(tiles.kept(1), first_row, 0, dv[0], 1, 1);
  __syncwarp();
  write(tiles.kept(0), first_row, 16, block.rows(a.dk, shape, block.first), lane, kWarp);
  write(tiles.kept(1), first_row, 16, block.rows(a.dv, shape, block.first), lane, kWarp);
}

template <class T>
AttentionGradient<T> gradient_of(const AttentionBackward& t, const Tensor& delta) {
  return {t.q.data<T>(),       t.k.data<T>(),  t.v.data<T>(),  t.dy.data<T>(), t.log_sum.data<float>(),
          delta.data<float>(), t.dq.data<T>(), t.dk.data<T>(), t.dv.data<T>()};
}

}  // namespace

template <>
void attention_backward<Backend::cuda>(const AttentionBackward& t, AttentionOptions options, Stream stream) {
  if (t.q.count() == 0) return;
  const int rows = int(t.q.shape()[0]), heads = int(t.q.shape()[1]), head_dim = int(t.q.shape()[2]);
  const Tensor delta = Tensor::empty({heads, rows}, DType::f32, stream);
  visit_float(t.q.dtype(), [&]<class T>() {
    launch("attention_backward", &attention_delta<T>,
           Grid{{blocks_for(rows, kDeltaWarps * kWarp) * heads}, {kDeltaWarps * kWarp}}, stream,
           t.y.data<T>(), t.dy.data<T>(), delta.data<float>(), rows, heads, head_dim);
  });

  const bool on_tensor_cores = fits_tensor_cores(t.q);
  const int height = on_tensor_cores ? kKept : kPlainWarps;
  const DeviceRowTiles queries(causal_tiles(options.segments, height, Work::grows_with_row), stream);
  const DeviceRowTiles keys(causal_tiles(options.segments, height, Work::shrinks_with_row), stream);
  const auto shape_of = [&](const DeviceRowTiles& tiles) {
    return attention_shape(t.q, options, tiles, {t.q, t.k, t.v, t.dy, t.dq, t.dk, t.dv});
  };
  const dim3 blocks(blocks_for(queries.count() * heads, 1));
  if (on_tensor_cores) {
    visit_head_dim(head_dim, [&]<int kDim>() {
      const Grid grid{blocks, {kThreads}, BackwardTiles<kDim>::kBytes};
      const AttentionGradient<bf16> gradient = gradient_of<bf16>(t, delta);
      launch("attention_backward", &attention_dq_tiles<kDim>, grid, stream, shape_of(queries), gradient);
      launch("attention_backward", &attention_dkv_tiles<kDim>, grid, stream, shape_of(keys), gradient);
    });
  } else {
    visit_float(t.q.dtype(), [&]<class T>() {
      const Grid grid{blocks, {kPlainWarps * kWarp}, 2 * kPlainWarps * head_dim * sizeof(float)};
      const AttentionGradient<T> gradient = gradient_of<T>(t, delta);
      launch("attention_backward", &attention_dq_rows<T>, grid, stream, shape_of(queries), gradient);
      launch("attention_backward", &attention_dkv_rows<T>, grid, stream, shape_of(keys), gradient);
    });
  }
}

}  // namespace tessera::kernels
