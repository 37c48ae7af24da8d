#include "kernels/exact_norm.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1024;  // that take the elements in turns
constexpr int kVector = kVectorElements<float>;

/// Calls body(vector) for the thread's share of x, N neighbouring elements at a time.
template <int N, class Body>
__device__ void for_share(const float* x, int64_t count, const Body& body) {
  for (int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * N; at < count;
       at += int64_t{gridDim.x} * kThreads * N) {
    float vector[N];
    load<(N > 1)>(x + at, count - at, vector);
    body(vector);
  }
}

using Word = unsigned long long;  // what atomicAdd takes

/// Sums of the lower and of the upper 32 bits of the squares, which do not overflow below 2^32 elements, and the bits of the
/// largest |x|, which compare like whole numbers; those of a NaN exceed those of infinity.
struct Parts {
  Word lower, upper;
  int largest;
};

/// Atomics on whole numbers give one result in any order.
template <int N>
__global__ void __launch_bounds__(kThreads)
    add_parts(const float* __restrict__ x, int64_t count, double factor, Parts* parts) {
  Word lower = 0, upper = 0;
  int largest = 0;
  for_share<N>(x, count, [&](const float(&vector)[N]) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const double scaled = static_cast<double>(vector[n]) * factor;  // exact, and so is its square
      const Word square =
          static_cast<Word>(rint(fmin(scaled * scaled, 0x1p53)));  // of any x a number that fits
      largest = max(largest, __float_as_int(vector[n]) & 0x7fffffff);
      lower += square & 0xffffffffu;
      upper += square >> 32;
    }
  });
  lower = block_reduce(lower, Sum{});
  upper = block_reduce(upper, Sum{});
  largest = block_reduce(largest, Max{});
  if (threadIdx.x == 0) {
    atomicAdd(&parts->lower, lower);
    atomicAdd(&parts->upper, upper);
    atomicMax(&parts->largest, largest);
  }
}

}  // namespace

template <>
NormParts norm_parts<Backend::cuda>(const Tensor& x, int exponent, Stream stream) {
  const Tensor memory = Tensor::zeros({static_cast<int64_t>(sizeof(Parts))}, DType::u8, stream);
  const float* const values = x.data<float>();
  const bool aligned = aligned_for_vectors(values);
  const int64_t per_block = kThreads * (aligned ? kVector : 1);
  const auto blocks = static_cast<unsigned>(std::min(kMostBlocks, (x.count() + per_block - 1) / per_block));
  launch("norm_parts", aligned ? &add_parts<kVector> : &add_parts<1>, {blocks, kThreads}, stream, values,
         x.count(), std::ldexp(1.0, 26 - exponent), reinterpret_cast<Parts*>(memory.data<uint8_t>()));
  Parts parts;
  CudaEngine& engine = cuda_engine_of(stream);
  engine.staging.to_host(memory.bytes_data(), &parts, sizeof parts, engine.stream_handle);
  return {std::bit_cast<float>(parts.largest),
          (static_cast<unsigned __int128>(parts.upper) << 32) + parts.lower};
}

}  // namespace tessera::kernels
