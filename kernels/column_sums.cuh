#pragma once
// Sums over the rows of a matrix, such as the gradient of a norm's weight, in two steps: every block adds up
// the rows that its groups (row_group.cuh) meet, then the sums of the blocks are added, in an order that the
// shape alone decides. Between the steps a block's sums lie as its threads hold them: element e of member m
// at e threads + m.

#include "kernels/row_group.cuh"
#include "runtime/tensor.h"

namespace tessera::kernels {

/// Enough to fill a device, and few enough for their sums to be small beside the rows of a training step.
inline constexpr int64_t kColumnBlocks = 128;
inline constexpr int kColumnThreads = 512;

/// Bytes of shared memory that add_up_block needs.
inline size_t column_sum_bytes(int group) {
  return sizeof(float) * kRowElements * group * (kColumnThreads / std::max(group, kWarp));
}

/// Fills sums [16 group.threads] with what the block's threads have added up.  All threads of the block must
/// call.
inline __device__ void add_up_block(const RowGroup& group, float (&mine)[kRowElements], float* shared,
                                    float* sums) {
  const int slots = kRowElements * group.threads, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int sets = kColumnThreads / max(group.threads, kWarp);
  float* const set = shared + warp * kWarp / max(group.threads, kWarp) * slots;
#pragma unroll
  for (int e = 0; e < kRowElements; ++e)
    for (int offset = group.threads; offset < kWarp; offset *= 2)
      mine[e] += __shfl_xor_sync(kFullMask, mine[e], offset);
  __syncthreads();  // the shared memory may have had another use
  if (lane < group.threads)
#pragma unroll
    for (int e = 0; e < kRowElements; ++e) set[e * group.threads + group.member()] = mine[e];
  __syncthreads();
  for (int slot = threadIdx.x; slot < slots; slot += kColumnThreads) {
    float sum = 0;
    for (int other = 0; other < sets; ++other) sum += shared[other * slots + slot];
    sums[slot] = sum;
  }
}

/// sums [cols] = the sum over blocks of partials [blocks, 16 group.threads], in columns of vectors of N
/// elements.
void add_up_blocks(const char* name, const float* partials, int64_t blocks, RowGroup group, int vector,
                   const Tensor& sums, Stream stream);

}  // namespace tessera::kernels
