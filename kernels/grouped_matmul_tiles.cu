// Products of rows in groups on tensor cores: bf16 operands, f32 sums.

#include <type_traits>

#include "kernels/grouped_matmul.cuh"

namespace tessera::kernels {
namespace {

constexpr int kTile = 128, kStep = 32;  // of the result; of the summed index, which is copied at once
// Eight warps, two above each other and four side by side; each sums 64 x 32 elements in 64 registers.
constexpr int kThreads = 256;
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kBlocks = 2;  // per multiprocessor: one computes while the other waits at a barrier

template <Depth kDepth>
using StepTile = std::conditional_t<kDepth == Depth::along_rows, Tile<kTile, kStep>, Tile<kStep, kTile>>;

/// Two stages of both operands: one is filled while the other is multiplied.  The result takes their place at
/// the end.
template <Pass kPass>
struct ProductTiles {
  using Left = StepTile<left_depth(kPass)>;
  using Right = StepTile<right_depth(kPass)>;
  using Result = Tile<kTile, kTile>;
  static constexpr int kElements = 2 * (Left::kElements + Right::kElements);
  static constexpr int kBytes = kElements * int(sizeof(bf16));
  static_assert(Result::kElements <= kElements);

  bf16* shared;

  __device__ Left left(int stage) const { return {shared + stage * (Left::kElements + Right::kElements)}; }
  __device__ Right right(int stage) const { return {left(stage).data + Left::kElements}; }
  __device__ Result result() const { return {shared}; }
};

template <class T>
struct Operand {
  T* data;
  bool by_16_bytes;  ///< rows begin at 16-byte boundaries

  Operand(const Tensor& tensor, int64_t row_elements)
      : data(tensor.data<std::remove_const_t<T>>()),
        by_16_bytes(reinterpret_cast<uintptr_t>(data) % 16 == 0 && row_elements * sizeof(T) % 16 == 0) {}
};

/// The rows of memory that hold summed indices [first, first + kStep) of a block's operand.
template <Depth kDepth>
__device__ __forceinline__ Rows<const bf16> step_of(const Operand<const bf16>& operand, const Window& window,
                                                    int first, int depth) {
  const bf16* const data = operand.data + window.begin;
  if constexpr (kDepth == Depth::along_rows)
    return {data + first, window.stride, window.extent, depth - first, operand.by_16_bytes};
  else
    return {data + int64_t(first) * window.stride, window.stride, depth - first, window.extent,
            operand.by_16_bytes};
}

using WarpSums = Accumulator[kWarpRows / 16][kWarpColumns / 8];

template <Pass kPass>
__device__ __forceinline__ void multiply_step(const ProductTiles<kPass>& tiles, int stage, int row,
                                              int column, WarpSums& sums) {
#pragma unroll
  for (int summed = 0; summed < kStep; summed += 16) {
    Fragment left[kWarpRows / 16];
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m)
      load_left<left_depth(kPass)>(left[m], tiles.left(stage), row + m * 16, summed);
    multiply_add<right_depth(kPass)>(sums, left, tiles.right(stage), column, summed);
  }
}

/// f32 sums go straight to memory: in pairs, the four lanes of a row write the 32 bytes that memory moves at
/// once.
__device__ __forceinline__ void store_sums(const WarpSums& sums, const Operand<float>& result,
                                           const Window& window, int rows, int row, int column) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int m = 0; m < kWarpRows / 16; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at_row = row + m * 16 + half * 8 + lane / 4;
      float* const to = result.data + window.begin + int64_t(at_row) * window.stride;
      // A pair that begins inside ends inside where rows begin at 16 bytes: their length is even.
      const int columns = at_row < rows ? window.extent : 0;
      if (result.by_16_bytes) {
#pragma unroll
        for (int n = 0; n < kWarpColumns / 8; ++n) {
          const int at = column + n * 8 + lane % 4 * 2;
          // Indexed by pairs: from the address of an element nvcc would make two stores of every pair.
          if (at < columns)
            reinterpret_cast<float2*>(to)[at / 2] = {sums[m][n][2 * half], sums[m][n][2 * half + 1]};
        }
      } else {
#pragma unroll
        for (int n = 0; n < kWarpColumns / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int at = column + n * 8 + lane % 4 * 2 + e;
            if (at < columns) to[at] = sums[m][n][2 * half + e];
          }
      }
    }
}

template <Pass kPass, class Result>
__global__ void __launch_bounds__(kThreads, kBlocks)
    grouped_matmul_tiles(ProductShape shape, Operand<const bf16> left, Operand<const bf16> right,
                         Operand<Result> result) {
  const ProductTiles<kPass> tiles{shared_memory<bf16>()};
  const BlockProduct block = block_product<kTile>(kPass, shape);
  const int warp = threadIdx.x / kWarp, row = warp / 4 * kWarpRows, column = warp % 4 * kWarpColumns;
  const int steps = (block.depth + kStep - 1) / kStep;
  const auto fill_stage = [&](int step) {
    fill_async<kThreads>(tiles.left(step % 2),
                         step_of<left_depth(kPass)>(left, block.left, step * kStep, block.depth));
    fill_async<kThreads>(tiles.right(step % 2),
                         step_of<right_depth(kPass)>(right, block.right, step * kStep, block.depth));
  };
  WarpSums sums = {};
  if (steps > 0) fill_stage(0);
  for (int step = 0; step < steps; ++step) {
    wait_for_copies();
    __syncthreads();  // the stage is whole, and no warp reads the other one any longer
    if (step + 1 < steps) fill_stage(step + 1);
    multiply_step(tiles, step % 2, row, column, sums);
  }
  if constexpr (std::is_same_v<Result, float>) {
    store_sums(sums, result, block.result, block.left.extent, row, column);
  } else {
    __syncthreads();  // the last stage has been read
#pragma unroll
    for (int m = 0; m < kWarpRows / 16; ++m) put(tiles.result(), row + m * 16, column, sums[m], 1, 1);
    __syncthreads();
    write(tiles.result(), 0, kTile,
          Rows<bf16>{result.data + block.result.begin, block.result.stride, block.left.extent,
                     block.result.extent, result.by_16_bytes},
          threadIdx.x, kThreads);
  }
}

template <Pass kPass, class Result>
void launch_tiles(const char* name, const GroupedProduct& product, Stream stream) {
  const ProductGrid<kTile> grid(product, stream);
  const auto row_elements = [](const Tensor& tensor) { return tensor.shape()[-1]; };
  launch(name, &grouped_matmul_tiles<kPass, Result>, {grid.blocks, kThreads, ProductTiles<kPass>::kBytes},
         stream, grid.shape, Operand<const bf16>(product.left, row_elements(product.left)),
         Operand<const bf16>(product.right, row_elements(product.right)),
         Operand<Result>(product.result, row_elements(product.result)));
}

}  // namespace

void multiply_on_tensor_cores(const char* name, const GroupedProduct& product, Stream stream) {
  if (product.pass == Pass::backward_weight)
    return launch_tiles<Pass::backward_weight, float>(name, product, stream);
  visit_float(product.result.dtype(), [&]<class Result>() {
    if (product.pass == Pass::forward)
      launch_tiles<Pass::forward, Result>(name, product, stream);
    else
      launch_tiles<Pass::backward_input, Result>(name, product, stream);
  });
}

}  // namespace tessera::kernels
