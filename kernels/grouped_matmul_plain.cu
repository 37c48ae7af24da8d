// Products of rows in groups, in f32 on the ordinary cores: the reference, and what takes every dtype.

#include "kernels/grouped_matmul.cuh"

namespace tessera::kernels {
namespace {

constexpr int kTile = 64, kDepth = 16;
constexpr int kThreads = 256;          // 16 x 16, of 4 x 4 elements each
constexpr int kElements = kTile / 16;  // in a row or column of a thread
// Two more than the tile: 16 summed indices of two rows, which a warp stores at once, then meet 32 banks.
constexpr int kPitch = kTile + 2;
using Slice = float[kDepth][kPitch];

/// The element type is no template parameter: every element is loaded once per block and then used 64 times.
struct Elements {
  void* data;
  bool is_bf16;

  explicit Elements(const Tensor& tensor)
      : data(tensor.bytes_data()), is_bf16(tensor.dtype() == DType::bf16) {}
  __device__ float load(int64_t at) const {
    return is_bf16 ? float(static_cast<const bf16*>(data)[at]) : static_cast<const float*>(data)[at];
  }
  __device__ void store(int64_t at, float value) const {
    if (is_bf16)
      static_cast<bf16*>(data)[at] = bf16(value);
    else
      static_cast<float*>(data)[at] = value;
  }
};

/// kDepth summed indices from `first` on of a block's kTile rows or columns; zeros where there are none.
/// Neighbouring threads take neighbours in memory.
__device__ void fill(Slice& slice, const Elements& from, const Window& window, Depth direction, int first,
                     int depth) {
  const bool along_rows = direction == Depth::along_rows;
#pragma unroll
  for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
    const int row = along_rows ? i / kDepth : i % kTile, summed = along_rows ? i % kDepth : i / kTile;
    const int64_t slow = along_rows ? row : first + summed, fast = along_rows ? first + summed : row;
    const bool exists = row < window.extent && first + summed < depth;
    slice[summed][row] = exists ? from.load(window.begin + slow * window.stride + fast) : 0;
  }
}

__global__ void __launch_bounds__(kThreads)
    grouped_matmul_plain(Pass pass, ProductShape shape, Elements left, Elements right, Elements result) {
  __shared__ Slice lefts, rights;
  const BlockProduct block = block_product<kTile>(pass, shape);
  const int x = threadIdx.x % 16, y = threadIdx.x / 16;
  float sum[kElements][kElements] = {};
  for (int first = 0; first < block.depth; first += kDepth) {
    fill(lefts, left, block.left, left_depth(pass), first, block.depth);
    fill(rights, right, block.right, right_depth(pass), first, block.depth);
    __syncthreads();
#pragma unroll
    for (int summed = 0; summed < kDepth; ++summed)
#pragma unroll
      for (int m = 0; m < kElements; ++m)
#pragma unroll
        for (int n = 0; n < kElements; ++n)
          sum[m][n] = fmaf(lefts[summed][y + 16 * m], rights[summed][x + 16 * n], sum[m][n]);
    __syncthreads();
  }
#pragma unroll
  for (int m = 0; m < kElements; ++m)
#pragma unroll
    for (int n = 0; n < kElements; ++n) {
      const int row = y + 16 * m, column = x + 16 * n;
      if (row < block.left.extent && column < block.result.extent)
        result.store(block.result.begin + int64_t(row) * block.result.stride + column, sum[m][n]);
    }
}

}  // namespace

void multiply_plain(const char* name, const GroupedProduct& product, Stream stream) {
  const ProductGrid<kTile> grid(product, stream);
  launch(name, &grouped_matmul_plain, {grid.blocks, kThreads}, stream, product.pass, grid.shape,
         Elements(product.left), Elements(product.right), Elements(product.result));
}

}  // namespace tessera::kernels
