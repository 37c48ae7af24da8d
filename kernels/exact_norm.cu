#include "kernels/exact_norm.h"

#include <algorithm>
#include <bit>

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1024;  // that take the elements in turns
constexpr int kVector = kVectorElements<float>;

/// Calls body(vector, count) for the thread's share of x, kVector neighbouring elements at a time.
template <bool kVectors, class Body>
__device__ void for_share(const float* x, int64_t count, const Body& body) {
  for (int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kVector; at < count;
       at += int64_t{gridDim.x} * kThreads * kVector) {
    float vector[kVector];
    load<kVectors>(x + at, count - at, vector);
    body(vector);
  }
}

/// largest: bits of the largest |x|, which compare like whole numbers; those of a NaN exceed those of infinity.
/// Atomics on whole numbers give one result in any order.
template <bool kVectors>
__global__ void __launch_bounds__(kThreads)
    largest_bits(const float* __restrict__ x, int64_t count, int* largest) {
  int mine = 0;
  for_share<kVectors>(x, count, [&](const float(&vector)[kVector]) {
#pragma unroll
    for (int n = 0; n < kVector; ++n) mine = max(mine, __float_as_int(vector[n]) & 0x7fffffff);
  });
  mine = block_reduce(mine, Max{});
  if (threadIdx.x == 0) atomicMax(largest, mine);
}

using Word = unsigned long long;  // what atomicAdd takes

/// Sums of the lower and of the upper 32 bits of the squares, which do not overflow below 2^32 elements.
struct Squares {
  Word lower, upper;
};

template <bool kVectors>
__global__ void __launch_bounds__(kThreads)
    add_squares(const float* __restrict__ x, int64_t count, double largest, Squares* squares) {
  Word lower = 0, upper = 0;
  for_share<kVectors>(x, count, [&](const float(&vector)[kVector]) {
#pragma unroll
    for (int n = 0; n < kVector; ++n) {
      const double quotient = static_cast<double>(vector[n]) / largest;
      const Word square = static_cast<Word>(quotient * quotient * 0x1p52);  // towards zero: the floor
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

unsigned blocks_of(int64_t count) {
  return static_cast<unsigned>(
      std::min(kMostBlocks, (count + kThreads * kVector - 1) / (kThreads * kVector)));
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
  const float* const values = x.data<float>();
  return std::bit_cast<float>(result_of<int>(stream, [&](int* largest) {
    launch("largest_magnitude", aligned_for_vectors(values) ? &largest_bits<true> : &largest_bits<false>,
           {blocks_of(x.count()), kThreads}, stream, values, x.count(), largest);
  }));
}

template <>
unsigned __int128 scaled_squares<Backend::cuda>(const Tensor& x, float largest, Stream stream) {
  const float* const values = x.data<float>();
  const auto sums = result_of<Squares>(stream, [&](Squares* squares) {
    launch("scaled_squares", aligned_for_vectors(values) ? &add_squares<true> : &add_squares<false>,
           {blocks_of(x.count()), kThreads}, stream, values, x.count(), double{largest}, squares);
  });
  return (static_cast<unsigned __int128>(sums.upper) << 32) + sums.lower;
}

}  // namespace tessera::kernels
