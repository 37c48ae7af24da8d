#pragma once
// Kernels for the tests of the simulated CUDA runtime, launched with <<<>>>.

#include <cuda_runtime_api.h>

namespace simulated_gpu::tests {

/// c[i] = a[i] + b[i], 128 threads a block.
void launch_add(const float* a, const float* b, float* c, int n, cudaStream_t stream);
/// x[i] = value.
void launch_fill(float* x, float value, int n, cudaStream_t stream);
/// x[i] = (value of the __constant__ factor) * x[i] + (value of the __device__ shift).
void launch_scale(float* x, int n, cudaStream_t stream);
/// sum[0] = x[0] + ... + x[threads - 1] through `threads` floats of dynamic shared memory, of which
/// shared_bytes are asked for.
void launch_shared_sum(const float* x, float* sum, int threads, size_t shared_bytes, cudaStream_t stream);
/// __launch_bounds__(128), 32 KiB of static shared memory.
void launch_bounded(float* x, int threads, cudaStream_t stream);
void launch_trap(cudaStream_t stream);
void launch_deadlock(cudaStream_t stream);  ///< one of two warps waits at a named barrier
/// Its module has an instruction that the simulation does not know.
void launch_unknown_instruction(cudaStream_t stream);
void launch_assert(int value, cudaStream_t stream);  ///< asserts that the value is 1

const void* fill_function();
const void* shared_sum_function();
const void* bounded_function();
const void* factor_symbol();  ///< float, 2 at first
const void* shift_symbol();   ///< float, 0 at first

}  // namespace simulated_gpu::tests
