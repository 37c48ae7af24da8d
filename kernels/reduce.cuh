#pragma once
// Reductions and prefix sums over the threads of a warp, a group or a block, always in the same tree, so that
// results repeat bit for bit.  All threads of the block must call, and every one gets the result.

#include <cstdint>

namespace tessera::kernels {

inline constexpr unsigned kFullMask = 0xffffffffu;
inline constexpr int kWarp = 32, kMostWarps = 32;  ///< threads of a warp, warps of a block

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  /// Of floats, the number where one is NaN.
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
  __device__ int operator()(int a, int b) const { return max(a, b); }
};

/// Over groups of neighbouring threads of a warp; lanes: a power of two, at most 32, the same for the whole
/// warp.
template <class T, class Op>
__device__ T warp_reduce(T value, Op op, int lanes = kWarp) {
  for (int offset = 1; offset < lanes; offset *= 2)
    value = op(value, __shfl_xor_sync(kFullMask, value, offset));
  return value;
}

/// Over groups of neighbouring threads of a block of whole groups; threads: of a group, a power of two up to
/// 32 or a multiple of 32, the same for the whole block.
template <class T, class Op>
__device__ T group_reduce(T value, Op op, int threads) {
  value = warp_reduce(value, op, min(threads, kWarp));
  if (threads <= kWarp) return value;
  __shared__ T parts[kMostWarps];
  const int warp = threadIdx.x / kWarp, warps = threads / kWarp, first = warp / warps * warps;
  if (threadIdx.x % kWarp == 0) parts[warp] = value;
  __syncthreads();
  value = parts[first];
  for (int other = 1; other < warps; ++other) value = op(value, parts[first + other]);
  __syncthreads();  // the parts of the next reduction may take their place
  return value;
}

template <class T, class Op>
__device__ T block_reduce(T value, Op op) {
  return group_reduce(value, op, blockDim.x);
}

/// The sums of the threads before this one and of the whole block.
struct Prefix {
  uint32_t before, total;
};
inline __device__ Prefix block_prefix_sum(uint32_t value) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  uint32_t inclusive = value;
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const uint32_t lower = __shfl_up_sync(kFullMask, inclusive, offset);
    if (lane >= offset) inclusive += lower;
  }
  __shared__ uint32_t parts[kMostWarps];
  if (lane == kWarp - 1) parts[warp] = inclusive;
  __syncthreads();
  uint32_t before = inclusive - value, total = 0;
  for (int other = 0; other < warps; ++other) {
    if (other < warp) before += parts[other];
    total += parts[other];
  }
  __syncthreads();
  return {before, total};
}

}  // namespace tessera::kernels
