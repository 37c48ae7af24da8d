#include "tests/simulated_gpu/tests/cuda/seeded_faults.h"

#include "kernels/async_copy.cuh"

namespace simulated_gpu::tests {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 64;

__global__ void double_values(Fault fault, const float* x, float* y, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (fault == Fault::one_past_the_end ? i <= n : i < n) y[i] = 2 * x[i];
}

__global__ void double_vectors(const float* x, float* y, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (4 * i >= n - 4) return;
  const float4 v = *reinterpret_cast<const float4*>(x + 1 + 4 * i);
  *reinterpret_cast<float4*>(y + 4 * i) = {2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w};
}

__device__ float warp_sum(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffff, value, offset);
  return value;
}

__global__ void sum_values(Fault fault, const float* x, float* sum, int n) {
  __shared__ float parts[kThreads / 32];
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const float own = warp_sum(i < n ? x[i] : 0);
  if (lane == 0 && !(fault == Fault::uninitialised_shared && warp == 1)) parts[warp] = own;
  if (fault == Fault::barrier_in_branch) {
    if (warp != 2) __syncthreads();
  } else if (fault != Fault::missing_barrier) {
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  float total = 0;
  for (int part = 0; part < kThreads / 32; ++part) total += parts[part];
  if (fault == Fault::plain_addition)
    *sum += total;
  else
    atomicAdd(sum, total);
}

__global__ void reverse_rows(Fault fault, const float* x, float* y) {
  __shared__ float rows[kThreads / 32][32];
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  rows[warp][lane] = x[i];
  if (fault != Fault::missing_warp_synchronisation) __syncwarp();
  y[i] = rows[warp][31 - lane];
}

__global__ void tile_sums(Fault fault, const float* x, float* y, int tiles) {
  __shared__ float tile[kTile];
  float sum = 0;
  for (int t = 0; t < tiles; ++t) {
    tile[threadIdx.x] = x[t * kTile + static_cast<int>(threadIdx.x)];
    __syncthreads();
    sum += tile[kTile - 1 - threadIdx.x];
    if (fault != Fault::missing_barrier_in_loop) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

__device__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ void wait_for_all_but() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

__global__ void pipelined_tile_sums(Fault fault, const float4* x, float4* y, int tiles) {
  __shared__ float4 buffers[2][kTile];
  const int thread = static_cast<int>(threadIdx.x);
  const auto load = [&](int t) {
    tessera::kernels::copy_16_async(&buffers[t % 2][thread], x + t * kTile + thread, 16);
    commit_copies();
  };
  float4 sum = {};
  load(0);
  for (int t = 0; t < tiles; ++t) {
    if (t + 1 < tiles) load(t + 1);
    if (t + 1 == tiles)
      wait_for_all_but<0>();
    else if (fault == Fault::weak_copy_wait)
      wait_for_all_but<2>();
    else
      wait_for_all_but<1>();
    if (fault != Fault::missing_barrier_after_copy) __syncthreads();
    const float4 v = buffers[t % 2][kTile - 1 - thread];
    sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
    __syncthreads();
  }
  y[thread] = sum;
}

__global__ void ordered_sum(Fault fault, const float* x, float* parts, unsigned* ticket, float* sum) {
  const float own = warp_sum(x[blockIdx.x * 32 + threadIdx.x]);
  unsigned place = 0;
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = own;
    if (fault != Fault::missing_fence) __threadfence();
    place = atomicAdd(ticket, 1);
  }
  place = __shfl_sync(0xffffffff, place, 0);
  if (place + 1 < gridDim.x || threadIdx.x != 0) return;
  float total = 0;
  for (unsigned block = 0; block < gridDim.x; ++block)
    total += reinterpret_cast<volatile float*>(parts)[block];
  *sum = total;
  *ticket = 0;
}

unsigned blocks_of(int n) { return static_cast<unsigned>((n + kThreads - 1) / kThreads); }

}  // namespace

void launch_double(Fault fault, const float* x, float* y, int n, cudaStream_t stream) {
  if (fault == Fault::misaligned_vector)
    double_vectors<<<blocks_of(n / 4), kThreads, 0, stream>>>(x, y, n);
  else
    double_values<<<blocks_of(n + 1), kThreads, 0, stream>>>(fault, x, y, n);
}

void launch_sum(Fault fault, const float* x, float* sum, int n, cudaStream_t stream) {
  sum_values<<<blocks_of(n), kThreads, 0, stream>>>(fault, x, sum, n);
}

void launch_reverse(Fault fault, const float* x, float* y, int rows, cudaStream_t stream) {
  reverse_rows<<<blocks_of(32 * rows), kThreads, 0, stream>>>(fault, x, y);
}

void launch_tile_sums(Fault fault, const float* x, float* y, int tiles, cudaStream_t stream) {
  tile_sums<<<1, kTile, 0, stream>>>(fault, x, y, tiles);
}

void launch_pipelined_tile_sums(Fault fault, const float4* x, float4* y, int tiles, cudaStream_t stream) {
  pipelined_tile_sums<<<1, kTile, 0, stream>>>(fault, x, y, tiles);
}

void launch_ordered_sum(Fault fault, const float* x, float* parts, unsigned* ticket, float* sum, int blocks,
                        cudaStream_t stream) {
  ordered_sum<<<static_cast<unsigned>(blocks), 32, 0, stream>>>(fault, x, parts, ticket, sum);
}

}  // namespace simulated_gpu::tests
