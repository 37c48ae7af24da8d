#pragma once
// What the CUDA kernels of attention share.  A block takes a tile of rows of one segment and one head.

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/row_tiles.cuh"
#include "kernels/tile.cuh"

namespace tessera::kernels {

constexpr float kLog2E = 1.44269504f, kLn2 = 0.69314718f;

/// The sizes of a call, and its tiles.  Blocks are numbered tile by tile, the heads of a tile in sequence.
struct AttentionShape {
  int rows, heads, head_dim;
  float scale;
  bool by_16_bytes;  ///< every tensor begins at a 16-byte boundary
  const RowTile* tiles;

  __device__ int64_t stride() const { return int64_t(heads) * head_dim; }
};

/// The part of a block: rows below are counted from the segment's begin.
struct AttentionBlock {
  int head, first, length;
  int64_t row;      ///< of the tensors, where the segment begins
  int64_t element;  ///< of the head in that row

  __device__ explicit AttentionBlock(const AttentionShape& shape) {
    const RowTile tile = shape.tiles[blockIdx.x / shape.heads];
    head = blockIdx.x % shape.heads;
    first = tile.first - tile.begin, length = tile.end - tile.begin;
    row = tile.begin;
    element = row * shape.stride() + int64_t(head) * shape.head_dim;
  }
  /// Rows of the segment and head from `begin` on.
  template <class T>
  __device__ Rows<T> rows(T* tensor, const AttentionShape& shape, int begin) const {
    return {tensor + element + begin * shape.stride(), shape.stride(), length - begin, shape.head_dim,
            shape.by_16_bytes};
  }
};

/// sum[16, kDim] += weights[16, 8 kN] rows, the weights rounded to bf16 and `rows` a tile of 8 kN rows.
template <int kN, int kDimOver8, class AnyTile>
__device__ __forceinline__ void add_weighted(Accumulator (&sum)[1][kDimOver8],
                                             const Accumulator (&weights)[1][kN], AnyTile rows) {
#pragma unroll
  for (int n = 0; n < kN; n += 2) {
    Fragment left[1];
    pack_left(left[0], weights[0][n], weights[0][n + 1]);
    multiply_add<Depth::across_rows>(sum, left, rows, 0, n * 8);
  }
}

/// tensors: those that tiles are copied from and to.
inline AttentionShape attention_shape(const Tensor& q, const AttentionOptions& options,
                                      const DeviceRowTiles& tiles, std::initializer_list<Tensor> tensors) {
  const bool by_16_bytes = std::all_of(tensors.begin(), tensors.end(), [](const Tensor& tensor) {
    return reinterpret_cast<uintptr_t>(tensor.bytes_data()) % 16 == 0;
  });
  return {int(q.shape()[0]), int(q.shape()[1]), int(q.shape()[2]), options.scale, by_16_bytes, tiles.data()};
}

/// Tensor cores take bf16 with heads of whole 16 x 16 matrices; wider heads than 128 do not fit a block's
/// registers.
inline bool fits_tensor_cores(const Tensor& q) {
  const int64_t head_dim = q.shape()[2];
  return q.dtype() == DType::bf16 && head_dim % 16 == 0 && head_dim <= 128;
}

/// Calls body.template operator()<kDim>() with the least width of a tile that holds a head.
template <class Body>
void visit_head_dim(int64_t head_dim, Body&& body) {
  if (head_dim <= 32) return body.template operator()<32>();
  if (head_dim <= 64) return body.template operator()<64>();
  return body.template operator()<128>();
}

/// Tiles in the order of work, most first, so that the last blocks to end are short ones.
enum class Work { grows_with_row, shrinks_with_row };
inline std::vector<RowTile> causal_tiles(std::span<const int64_t> segments, int rows_per_tile, Work work) {
  std::vector<RowTile> tiles = row_tiles(segments, rows_per_tile);
  const auto rows_met = [=](const RowTile& tile) {
    return work == Work::grows_with_row ? tile.first - tile.begin : tile.end - tile.first;
  };
  std::stable_sort(tiles.begin(), tiles.end(),
                   [&](const RowTile& a, const RowTile& b) { return rows_met(a) > rows_met(b); });
  return tiles;
}

}  // namespace tessera::kernels
