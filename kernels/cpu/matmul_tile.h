#pragma once
// One matrix product C = A B, and the cutting of products into tiles that threads compute on their own.
//
// A tile owns its elements of C for the whole summed dim, so cuts can follow the number of threads: an
// element's chain of multiply-adds stays the same wherever the cuts are.

#include <algorithm>
#include <cstdint>

#include "runtime/dtype.h"

namespace tessera::kernels::cpu {

/// Element (i, j) is data[i * stride + j], or data[j * stride + i] when transposed.
struct Matrix {
  void* data;
  DType dtype;
  int64_t stride;
  bool transposed = false;
};

/// c[i, j] = sum_p a[i, p] b[p, j] for i < m, j < n, p < k.  c is not transposed.
struct Product {
  int64_t m, n, k;
  Matrix a, b, c;
};

struct Tile {
  int64_t row, rows, column, columns;  ///< of C
};

// Sizes in floats of what multiply_tile() packs.  A block of B, kDepth x kMostColumns, takes half of a 1 MiB
// L2; a panel of A, up to 14 rows of it, half of a 32 KiB L1.
constexpr int64_t kDepth = 256;
constexpr int64_t kMostColumns = 512;
constexpr int64_t kMostRows = 1024;
constexpr int64_t kPanelStride =
    kDepth + 16;  ///< not a power of two: rows of a panel fall on different cache sets
constexpr int64_t kPanelFloats = 16 * kPanelStride;
constexpr int64_t kBlockFloats = kDepth * kMostColumns;

inline int64_t parts(int64_t count, int64_t most) { return (count + most - 1) / most; }

/// Largest tiles of a call.  The tiles of one product are near equal.
struct TileSize {
  int64_t rows = kMostRows, columns = kMostColumns;

  int64_t tiles(const Product& product) const { return parts(product.m, rows) * parts(product.n, columns); }
  /// Tile 0 <= index < tiles(product).  Consecutive tiles share columns, that is the same part of B.
  Tile tile(const Product& product, int64_t index) const;
  int64_t scratch_floats() const { return kPanelFloats + kBlockFloats + rows * columns; }
};

inline Tile TileSize::tile(const Product& product, int64_t index) const {
  const int64_t row_parts = parts(product.m, rows), column_parts = parts(product.n, columns);
  const int64_t i = index % row_parts, j = index / row_parts;
  // Columns are cut at multiples of 32, the widest register block, so that only the last tile has a ragged
  // edge.
  const auto column_cut = [&](int64_t cut) {
    return std::min(product.n, parts(product.n * cut, column_parts * 32) * 32);
  };
  const int64_t row = product.m * i / row_parts, column = column_cut(j);
  return {row, product.m * (i + 1) / row_parts - row, column, column_cut(j + 1) - column};
}

}  // namespace tessera::kernels::cpu
