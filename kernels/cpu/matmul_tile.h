#pragma once
// How a call's products are cut into tiles, one of which a thread computes at a time.

#include <algorithm>

#include "kernels/cpu/matmul_product.h"
#include "runtime/tensor.h"

namespace tessera::kernels::cpu {

// Each tile packs its part of both operands, so two threads lose 6 % of a step with eight tiles each; with one, the first to finish
// waits.
constexpr int64_t kTilesPerThread = 2;
constexpr int64_t kLeastColumns = 128;
constexpr int64_t kLeastRows = 64;

/// Elements of C that one thread computes, over the whole summed dim: cuts may follow the number of threads because an
/// element's chain of multiply-adds stays the same wherever they are.
struct Tile {
  int64_t row, rows, column, columns;
};

/// The largest tile of a call.  The tiles of one product are near equal.
struct TileSize {
  int64_t rows, columns;

  int64_t tiles(const Product& product) const { return parts(product.m, rows) * parts(product.n, columns); }

  /// Consecutive tiles share columns, that is the same part of B.
  Tile tile(const Product& product, int64_t index) const {
    const int64_t row_parts = parts(product.m, rows), column_parts = parts(product.n, columns);
    const int64_t i = index % row_parts, j = index / row_parts;
    // Columns are cut at multiples of 32, the widest register block, so that only the last tile has a ragged edge.
    const auto column_cut = [&](int64_t cut) {
      return std::min(product.n, parts(product.n * cut, column_parts * 32) * 32);
    };
    const int64_t row = product.m * i / row_parts, column = column_cut(j);
    return {row, product.m * (i + 1) / row_parts - row, column, column_cut(j + 1) - column};
  }
};

/// At most size, and small enough for all threads to have some.
inline TileSize tile_size(std::span<const Product> products, TileSize size, int threads) {
  if (threads == 1) return size;
  for (;;) {
    int64_t tiles = 0;
    for (const Product& product : products) tiles += size.tiles(product);
    if (tiles >= kTilesPerThread * threads) return size;
    if (size.columns > kLeastColumns)
      size.columns /= 2;
    else if (size.rows > kLeastRows)
      size.rows /= 2;
    else
      return size;
  }
}

/// Calls multiply_tile(product, tile, scratch) for the tiles of all products, cut by size, on the threads of the stream; each thread has
/// scratch of its own.
template <class MultiplyTile>
void multiply_tiles(std::span<const Product> products, TileSize size, int64_t scratch_bytes,
                    const MultiplyTile& multiply_tile, Stream stream) {
  const Tensor scratch = Tensor::empty({engine_of(stream).pool.threads(), scratch_bytes}, DType::u8, stream);
  for_each_part(
      products, stream, [&](const Product& product) { return size.tiles(product); },
      [&](size_t index, int64_t part, int worker) {
        const Product& product = products[index];
        multiply_tile(product, size.tile(product, part),
                      static_cast<void*>(scratch.data<uint8_t>() + worker * scratch_bytes));
      });
}

}  // namespace tessera::kernels::cpu
