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

/// largest: bits of the largest |x|, which compare like whole numbers; those of a NaN exceed those of
/// infinity. Atomics on whole numbers give one result in any order.
template <int N>
__global__ void __launch_bounds__(kThreads)
    largest_bits(const float* __restrict__ x, int64_t count, int* largest) {
  int mine = 0;
  for_share<N>(x, count, [&](const float(&vector)[N]) {
#pragma unroll
    for (int n = 0; n < N; ++n) mine = max(mine, __float_as_int(vector[n]) & 0x7fffffff);
  });
  mine = block_reduce(mine, Max{});
  if (threadIdx.x == 0) atomicMax(largest, mine);
}

using Word = unsigned long long;  // what atomicAdd takes

/// Sums of the lower and of the upper 32 bits of the squares, which do not overflow below 2^32 elements.
struct Squares {
  Word lower, upper;
};

template <int N>
__global__ void __launch_bounds__(kThreads)
    add_squares(const float* __restrict__ x, int64_t count, double factor, Squares* squares) {
  Word lower = 0, upper = 0;
  for_share<N>(x, count, [&](const float(&vector)[N]) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const double scaled = static_cast<double>(vector[n]) * factor;  // exact, and so is its square
      const Word square = static_cast<Word>(rint(scaled * scaled));
      lower += square & 0xffffffffu;
      upper += square >> 32;
    }
  });
  lower = block_reduce(lower, Sum{});
  upper = block_reduce(upper, Sum{});
  if (threadIdx.x == 0) {
    atomicAdd(&squares->lower, lower);
    atomicAdd(&squares->upper, upper);
  }
}

/// Queues the kernel of vectors, or the one of single elements where x is not aligned for them.
template <class... Parameters, class... Arguments>
void launch_shares(const char* name, void (*vectors)(Parameters...), void (*elements)(Parameters...),
                   const Tensor& x, Stream stream, Arguments... arguments) {
  const float* const values = x.data<float>();
  const bool aligned = aligned_for_vectors(values);
  const int64_t per_block = kThreads * (aligned ? kVector : 1);
  const auto blocks = static_cast<unsigned>(std::min(kMostBlocks, (x.count() + per_block - 1) / per_block));
  launch(name, aligned ? vectors : elements, {blocks, kThreads}, stream, values, x.count(), arguments...);
}

/// A result that a launch adds to from zero, once it is on the host.
template <class Result, class Launch>
Result result_of(Stream stream, const Launch& launch_into) {
  const Tensor memory = Tensor::zeros({static_cast<int64_t>(sizeof(Result))}, DType::u8, stream);
  launch_into(reinterpret_cast<Result*>(memory.data<uint8_t>()));
  Result result;
  CudaEngine& engine = cuda_engine_of(stream);
  engine.staging.to_host(memory.bytes_data(), &result, sizeof result, engine.stream_handle);
  return result;
}

}  // namespace

template <>
float largest_magnitude<Backend::cuda>(const Tensor& x, Stream stream) {
  return std::bit_cast<float>(result_of<int>(stream, [&](int* largest) {
    launch_shares("largest_magnitude", &largest_bits<kVector>, &largest_bits<1>, x, stream, largest);
  }));
}

template <>
unsigned __int128 scaled_squares<Backend::cuda>(const Tensor& x, int exponent, Stream stream) {
  const auto sums = result_of<Squares>(stream, [&](Squares* squares) {
    launch_shares("scaled_squares", &add_squares<kVector>, &add_squares<1>, x, stream,
                  std::ldexp(1.0, 26 - exponent), squares);
  });
  return (static_cast<unsigned __int128>(sums.upper) << 32) + sums.lower;
}

}  // namespace tessera::kernels
