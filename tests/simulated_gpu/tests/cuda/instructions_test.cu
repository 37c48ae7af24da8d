#include "tests/simulated_gpu/tests/cuda/instructions_test.h"

#include <cuda_runtime.h>

#include <cstring>
#include <stdexcept>

#include "kernels/async_copy.cuh"
#include "kernels/mma.cuh"

namespace simulated_gpu {
namespace {

using tessera::bf16;

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

/// A stream, device memory for one input and one output, and pinned memory for their copies.
template <class In, class Out>
class OneWarp {
 public:
  OneWarp() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    check(cudaMalloc(&in_, sizeof(In)));
    check(cudaMalloc(&out_, sizeof(Out)));
    check(cudaMallocHost(&host_in_, sizeof(In)));
    check(cudaMallocHost(&host_out_, sizeof(Out)));
  }
  ~OneWarp() {
    cudaFreeHost(host_out_);
    cudaFreeHost(host_in_);
    cudaFree(out_);
    cudaFree(in_);
    cudaStreamDestroy(stream_);
  }
  OneWarp(const OneWarp&) = delete;
  OneWarp& operator=(const OneWarp&) = delete;

  Out run(void (*kernel)(const In*, Out*), const In& input) {
    std::memcpy(static_cast<void*>(host_in_), &input, sizeof(In));
    check(cudaMemcpyAsync(in_, host_in_, sizeof(In), cudaMemcpyHostToDevice, stream_));
    kernel<<<1, 32, 0, stream_>>>(in_, out_);
    check(cudaGetLastError());
    check(cudaMemcpyAsync(host_out_, out_, sizeof(Out), cudaMemcpyDeviceToHost, stream_));
    check(cudaStreamSynchronize(stream_));
    return *host_out_;
  }

 private:
  cudaStream_t stream_;
  In *in_, *host_in_;
  Out *out_, *host_out_;
};

__global__ void mma_16x8x16(const MmaRegisters* in, ByLane<float, 4>* out) {
  const int lane = threadIdx.x;
  tessera::kernels::Fragment a;
  tessera::kernels::Accumulator d;
  for (int i = 0; i < 4; ++i) a[i] = in->a[lane][i], d[i] = in->d[lane][i];
  tessera::kernels::mma_16x8x16(d, a, in->b[lane][0], in->b[lane][1]);
  for (int i = 0; i < 4; ++i) (*out)[lane][i] = d[i];
}

struct MatrixRows {
  bf16 memory[1024];
  int rows[32];
};

template <void (*kLoad)(tessera::kernels::Fragment&, const bf16*)>
__global__ void load_matrices(const MatrixRows* in, ByLane<uint32_t, 4>* out) {
  __shared__ __align__(16) bf16 memory[1024];
  const int lane = threadIdx.x;
  for (int i = lane; i < 1024; i += 32) memory[i] = in->memory[i];
  __syncthreads();
  tessera::kernels::Fragment registers;
  kLoad(registers, memory + in->rows[lane]);
  for (int i = 0; i < 4; ++i) (*out)[lane][i] = registers[i];
}

MatrixRows matrix_rows(const std::vector<uint16_t>& memory, const std::array<int, 32>& rows) {
  MatrixRows in{};
  std::memcpy(static_cast<void*>(in.memory), memory.data(), memory.size() * sizeof(bf16));
  std::memcpy(in.rows, rows.data(), sizeof(in.rows));
  return in;
}

struct Pairs {
  std::array<float, 32> low, high;
};

__global__ void pack_bf16(const Pairs* in, std::array<uint32_t, 32>* out) {
  const int lane = threadIdx.x;
  (*out)[lane] = tessera::kernels::pack_bf16(in->low[lane], in->high[lane]);
}

template <int N>
struct Copies {
  alignas(16) ByLane<uint8_t, N> from;
  std::array<int, 32> counts;
};

template <int N, void (*kCopy)(void*, const void*, int)>
__global__ void copy_async(const Copies<N>* in, ByLane<uint8_t, N>* out) {
  __shared__ __align__(16) uint8_t memory[32][N];
  const int lane = threadIdx.x;
  for (int i = 0; i < N; ++i) memory[lane][i] = 0xee;
  kCopy(memory[lane], in->from[lane].data(), in->counts[lane]);
  tessera::kernels::wait_for_copies();
  for (int i = 0; i < N; ++i) (*out)[lane][i] = memory[lane][i];
}

}  // namespace

ByLane<float, 4> run_mma_16x8x16(const MmaRegisters& registers) {
  return OneWarp<MmaRegisters, ByLane<float, 4>>().run(mma_16x8x16, registers);
}

ByLane<uint32_t, 4> run_load_matrices(const std::vector<uint16_t>& memory, const std::array<int, 32>& rows) {
  return OneWarp<MatrixRows, ByLane<uint32_t, 4>>().run(load_matrices<tessera::kernels::load_matrices>,
                                                        matrix_rows(memory, rows));
}

ByLane<uint32_t, 4> run_load_matrices_transposed(const std::vector<uint16_t>& memory,
                                                 const std::array<int, 32>& rows) {
  return OneWarp<MatrixRows, ByLane<uint32_t, 4>>().run(
      load_matrices<tessera::kernels::load_matrices_transposed>, matrix_rows(memory, rows));
}

std::array<uint32_t, 32> run_pack_bf16(const std::array<float, 32>& low, const std::array<float, 32>& high) {
  return OneWarp<Pairs, std::array<uint32_t, 32>>().run(pack_bf16, {low, high});
}

ByLane<uint8_t, 16> run_copy_16_async(const ByLane<uint8_t, 16>& from, const std::array<int, 32>& counts) {
  return OneWarp<Copies<16>, ByLane<uint8_t, 16>>().run(copy_async<16, tessera::kernels::copy_16_async>,
                                                        {from, counts});
}

ByLane<uint8_t, 4> run_copy_4_async(const ByLane<uint8_t, 4>& from, const std::array<int, 32>& counts) {
  return OneWarp<Copies<4>, ByLane<uint8_t, 4>>().run(copy_async<4, tessera::kernels::copy_4_async>,
                                                      {from, counts});
}

}  // namespace simulated_gpu
