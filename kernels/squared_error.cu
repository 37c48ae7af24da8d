#include "kernels/squared_error.h"

#include "kernels/map.cuh"
#include "kernels/reduce.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = kThreads / kWarp;  // of a block, one for each warp

__global__ void __launch_bounds__(kThreads)
    square_rows(const float* __restrict__ x, const float* __restrict__ target, int64_t rows, int64_t cols,
                float* __restrict__ by_row) {
  const int lane = threadIdx.x % kWarp;
  const int64_t row = int64_t{blockIdx.x} * kRows + threadIdx.x / kWarp;
  float sum = 0;
  if (row < rows)
    for (int64_t at = row * cols + lane; at < (row + 1) * cols; at += kWarp) {
      const float difference = x[at] - target[at];
      sum = fmaf(difference, difference, sum);
    }
  sum = warp_reduce(sum, Sum{});
  if (lane == 0 && row < rows) by_row[row] = sum;
}

struct Gradient {
  float scale;
  const float* dtotal;

  __device__ void operator()(const float (&x)[2], float (&dx)[1]) const {
    dx[0] = 2 * scale * *dtotal * (x[0] - x[1]);
  }
};

}  // namespace

template <>
void squared_error_forward<Backend::cuda>(const Tensor& x, const Tensor& target, const Tensor& by_row,
                                          Stream stream) {
  const int64_t rows = x.shape()[0];
  launch("squared_error_forward", &square_rows, {blocks_for(rows, kRows), kThreads}, stream, x.data<float>(),
         target.data<float>(), rows, x.shape()[1], by_row.data<float>());
}

template <>
void squared_error_backward<Backend::cuda>(const SquaredErrorBackward& tensors, float scale, Stream stream) {
  map<float, 2, float, 1>("squared_error_backward", {{tensors.x.data<float>(), tensors.target.data<float>()}},
                          {{tensors.dx.data<float>()}}, tensors.x.count(),
                          Gradient{scale, tensors.dtotal.data<float>()}, stream);
}

}  // namespace tessera::kernels
