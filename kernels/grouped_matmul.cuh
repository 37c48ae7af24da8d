#pragma once
// The products of kernels/matmul.h as result = left right, and the kernels of our own for them.

#include <cstdint>

#include "kernels/launch.cuh"
#include "kernels/matmul.h"
#include "kernels/row_tiles.cuh"
#include "kernels/tile.cuh"

namespace tessera::kernels {

enum class Pass { forward, backward_input, backward_weight };

/// left and right: x and weight, dy and weight, dy and x.  result: y, dx, dweight.
struct GroupedProduct {
  Pass pass;
  Tensor left, right, result;
  int out, in;
  RowOffsets offsets;

  int64_t groups() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

/// How the summed index runs through the memory of the operands.
constexpr Depth left_depth(Pass pass) {
  return pass == Pass::backward_weight ? Depth::across_rows : Depth::along_rows;
}
constexpr Depth right_depth(Pass pass) {
  return pass == Pass::forward ? Depth::along_rows : Depth::across_rows;
}

/// Any dtypes: widened to f32, every element one chain of fused multiply-adds in order of the summed index.
void multiply_plain(const char* name, const GroupedProduct& product, Stream stream);
/// left and right bf16: tensor cores, sums in f32 in an order that depends on the summed index alone.
void multiply_on_tensor_cores(const char* name, const GroupedProduct& product, Stream stream);

// --- for the two kernels ---

/// Sizes of a launch.  Blocks in x: tiles of rows or, in backward_weight, groups; in y: tiles of columns of
/// the result; in z, in backward_weight: tiles of its rows.
struct ProductShape {
  const RowTile* tiles;
  int out, in;
};

/// An operand or the result from the place on where a block begins.
struct Window {
  int64_t begin;  ///< its first element in the tensor
  int stride;     ///< elements from row to row of the tensor
  int extent;     ///< rows (left) or columns (right, result) of the product that exist from there on
};

/// What a block multiplies: its tile of the result, kTile x kTile, and everything that is summed into it.
struct BlockProduct {
  Window left, right, result;
  int depth;
};

template <int kTile>
__device__ __forceinline__ BlockProduct block_product(Pass pass, const ProductShape& shape) {
  const RowTile tile = shape.tiles[blockIdx.x];
  const int64_t in = shape.in, out = shape.out, rows = tile.end - tile.first;
  const int64_t column = int64_t(blockIdx.y) * kTile, weight = tile.part * out * in;
  BlockProduct block;
  if (pass == Pass::backward_weight) {
    const int64_t row = int64_t(blockIdx.z) * kTile;
    block.left = {tile.first * out + row, shape.out, int(out - row)};
    block.right = {tile.first * in + column, shape.in, int(in - column)};
    block.result = {weight + row * in + column, shape.in, block.right.extent};
    block.depth = int(rows);
  } else if (pass == Pass::forward) {
    block.left = {tile.first * in, shape.in, int(rows)};
    block.right = {weight + column * in, shape.in, int(out - column)};
    block.result = {tile.first * out + column, shape.out, block.right.extent};
    block.depth = shape.in;
  } else {
    block.left = {tile.first * out, shape.out, int(rows)};
    block.right = {weight + column, shape.in, int(in - column)};
    block.result = {tile.first * in + column, shape.in, block.right.extent};
    block.depth = shape.out;
  }
  return block;
}

/// The tiles of a launch, in the stream's memory, and its blocks.
template <int kTile>
struct ProductGrid {
  DeviceRowTiles tiles;
  ProductShape shape;
  dim3 blocks;

  ProductGrid(const GroupedProduct& product, Stream stream)
      : tiles(product.pass == Pass::backward_weight ? whole_parts(product.offsets)
                                                    : row_tiles(product.offsets, kTile),
              stream),
        shape{tiles.data(), product.out, product.in} {
    const int columns = product.pass == Pass::forward ? product.out : product.in;
    const int rows = product.pass == Pass::backward_weight ? product.out : 1;
    blocks = {blocks_for(tiles.count(), 1), blocks_for(columns, kTile), blocks_for(rows, kTile)};
  }
};

}  // namespace tessera::kernels
