#pragma once
// Small kernels that are right, or have one fault of the kind that the simulated device is there to find.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace simulated_gpu::tests {

enum class Fault {
  none,
  one_past_the_end,
  misaligned_vector,
  missing_barrier,
  missing_barrier_in_loop,
  barrier_in_branch,
  missing_warp_synchronisation,
  uninitialised_shared,
  plain_addition,
  missing_fence,
  weak_copy_wait,
  missing_barrier_after_copy
};

/// y[i] = 2 x[i]; faults: one_past_the_end, misaligned_vector (n a multiple of 4).
void launch_double(Fault fault, const float* x, float* y, int n, cudaStream_t stream);
/// sum[0] += x[0] + ... + x[n - 1] by blocks of 128 threads; faults: missing_barrier, barrier_in_branch,
/// uninitialised_shared, plain_addition.
void launch_sum(Fault fault, const float* x, float* sum, int n, cudaStream_t stream);
/// y = x with each row of 32 reversed, one warp per row; fault: missing_warp_synchronisation.
void launch_reverse(Fault fault, const float* x, float* y, int rows, cudaStream_t stream);
/// y[i] = sum over tiles of x[tile * 64 + 63 - i] by one block of 64 threads; fault: missing_barrier_in_loop.
void launch_tile_sums(Fault fault, const float* x, float* y, int tiles, cudaStream_t stream);
/// The same through asynchronous copies into two buffers of 16-byte elements; faults: weak_copy_wait,
/// missing_barrier_after_copy.
void launch_pipelined_tile_sums(Fault fault, const float4* x, float4* y, int tiles, cudaStream_t stream);
/// sum[0] = x[0] + ... + x[32 blocks - 1]: the block that is last to write its part adds up the parts in
/// order.  ticket is 0 before and after; fault: missing_fence.
void launch_ordered_sum(Fault fault, const float* x, float* parts, unsigned* ticket, float* sum, int blocks,
                        cudaStream_t stream);

}  // namespace simulated_gpu::tests
