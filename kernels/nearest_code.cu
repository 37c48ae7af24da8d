#include "kernels/nearest_code.h"

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = kThreads / kWarp;  // of a block, one for each warp
constexpr int kCodes = kWarp;            // compared at a time, one for each lane

/// Codes lie one element further apart in shared memory than they are wide, so that lanes meet different banks.
__global__ void __launch_bounds__(kThreads)
    nearest_rows(const float* __restrict__ x, const float* __restrict__ codes, int64_t rows, int width, int count,
                 int32_t* __restrict__ chosen) {
  float* const mine = shared_memory<float>() + threadIdx.x / kWarp * width;  // [kRows][width]
  float* const tile = shared_memory<float>() + kRows * width;                // [kCodes][width + 1]
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t row = int64_t{blockIdx.x} * kRows + warp;
  if (row < rows)
    for (int k = lane; k < width; k += kWarp) mine[k] = x[row * width + k];
  float least = INFINITY;
  int nearest = 0;
  for (int first = 0; first < count; first += kCodes) {
    __syncthreads();  // the codes before have been read
    for (int code = warp; code < min(kCodes, count - first); code += kRows)
      for (int k = lane; k < width; k += kWarp)
        tile[code * (width + 1) + k] = codes[(int64_t{first} + code) * width + k];
    __syncthreads();
    if (row >= rows || first + lane >= count) continue;
    float distance = 0;
    for (int k = 0; k < width; ++k) {
      const float difference = mine[k] - tile[lane * (width + 1) + k];
      distance = fmaf(difference, difference, distance);
    }
    if (distance < least) {
      least = distance;
      nearest = first + lane;
    }
  }
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const float distance = __shfl_xor_sync(kFullMask, least, offset);
    const int code = __shfl_xor_sync(kFullMask, nearest, offset);
    if (distance < least || (distance == least && code < nearest)) {
      least = distance;
      nearest = code;
    }
  }
  if (lane == 0 && row < rows) chosen[row] = nearest;
}

}  // namespace

template <>
void nearest_code<Backend::cuda>(const Tensor& x, const Tensor& codes, const Tensor& chosen, Stream stream) {
  const int64_t rows = x.shape()[0], width = x.shape()[1];
  const size_t shared = sizeof(float) * static_cast<size_t>(kRows * width + kCodes * (width + 1));
  launch("nearest_code", &nearest_rows, {blocks_for(rows, kRows), kThreads, shared}, stream, x.data<float>(),
         codes.data<float>(), rows, static_cast<int>(width), static_cast<int>(codes.shape()[0]),
         chosen.data<int32_t>());
}

}  // namespace tessera::kernels
