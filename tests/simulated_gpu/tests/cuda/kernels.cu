#undef NDEBUG  // one kernel is about assert
#include "tests/simulated_gpu/tests/cuda/kernels.h"

#include <cassert>

namespace simulated_gpu::tests {
namespace {

constexpr int kThreads = 128;

__constant__ float factor = 2;
__device__ float shift;

__global__ void add(const float* a, const float* b, float* c, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) c[i] = a[i] + b[i];
}

__global__ void fill(float* x, float value, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = value;
}

__global__ void scale(float* x, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] = factor * x[i] + shift;
}

__global__ void shared_sum(const float* x, float* sum) {
  extern __shared__ float values[];
  values[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (unsigned i = 0; i < blockDim.x; ++i) total += values[i];
    *sum = total;
  }
}

__global__ void __launch_bounds__(kThreads) bounded(float* x) {
  __shared__ float values[8192];
  values[threadIdx.x] = float(threadIdx.x);
  __syncthreads();
  x[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

__global__ void deadlock() {
  if (threadIdx.x < 32) asm volatile("bar.sync 1, 64;" ::: "memory");
}

__global__ void trap() { __trap(); }

__global__ void assert_one(int value) { assert(value == 1); }

unsigned blocks(int n) { return unsigned((n + kThreads - 1) / kThreads); }

}  // namespace

void launch_add(const float* a, const float* b, float* c, int n, cudaStream_t stream) {
  add<<<blocks(n), kThreads, 0, stream>>>(a, b, c, n);
}

void launch_fill(float* x, float value, int n, cudaStream_t stream) {
  fill<<<blocks(n), kThreads, 0, stream>>>(x, value, n);
}

void launch_scale(float* x, int n, cudaStream_t stream) { scale<<<blocks(n), kThreads, 0, stream>>>(x, n); }

void launch_shared_sum(const float* x, float* sum, int threads, size_t shared_bytes, cudaStream_t stream) {
  shared_sum<<<1, unsigned(threads), shared_bytes, stream>>>(x, sum);
}

void launch_bounded(float* x, int threads, cudaStream_t stream) {
  bounded<<<1, unsigned(threads), 0, stream>>>(x);
}

void launch_trap(cudaStream_t stream) { trap<<<1, 32, 0, stream>>>(); }

void launch_deadlock(cudaStream_t stream) { deadlock<<<1, 64, 0, stream>>>(); }

void launch_assert(int value, cudaStream_t stream) { assert_one<<<1, 32, 0, stream>>>(value); }

const void* fill_function() { return reinterpret_cast<const void*>(&fill); }
const void* shared_sum_function() { return reinterpret_cast<const void*>(&shared_sum); }
const void* bounded_function() { return reinterpret_cast<const void*>(&bounded); }
const void* factor_symbol() { return &factor; }
const void* shift_symbol() { return &shift; }

}  // namespace simulated_gpu::tests
