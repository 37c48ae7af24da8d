#include "kernels/cpu/vector_matmul.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/cpu/select.h"
#include "runtime/tensor.h"

namespace tessera::kernels::cpu {
namespace {

// Sizes in words of 32 bits of what multiply_tile() packs.  The panels of a tile, up to 14 rows of A each, take half of a 1 MiB L2; a
// panel takes half of a 32 KiB L1, and so does half of a strip.
constexpr int64_t kMostRows = 512;
constexpr int64_t kMostColumns = 2048;
constexpr int64_t kPanelStride =
    kDepth + 16;  // no power of two: rows of a panel fall on different cache sets
constexpr int64_t kPanelFloats = 16 * kPanelStride;
constexpr int64_t kStripFloats = 32 * kDepth;
constexpr int64_t kNarrowestPanel = 6;  // rows of a panel at Isa::avx2

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
  int64_t rows = kMostRows, columns = kMostColumns;

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

TileSize tile_size(std::span<const Product> products, int threads) {
  TileSize size;
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

}  // namespace
}  // namespace tessera::kernels::cpu

#define TESSERA_KERNELS "kernels/cpu/vector_matmul.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels::cpu {
namespace {

using MultiplyTile = void(const Product&, const Tile&, float* scratch);

void multiply(std::span<const Product> products, MultiplyTile* multiply_tile, Stream stream) {
  const int threads = engine_of(stream).pool.threads();
  const TileSize size = tile_size(products, threads);
  const bool waits = std::ranges::any_of(products, [](const Product& product) {
    return product.k > kDepth && (!product.sums.empty() || product.c.dtype == DType::bf16);
  });
  const int64_t scratch_floats = kStripFloats + parts(size.rows, kNarrowestPanel) * kPanelFloats +
                                 (waits ? size.rows * size.columns : 0);
  const Tensor scratch = Tensor::empty({threads, scratch_floats}, DType::f32, stream);
  for_each_part(
      products, stream, [&](const Product& product) { return size.tiles(product); },
      [&](size_t index, int64_t part, int worker) {
        const Product& product = products[index];
        multiply_tile(product, size.tile(product, part), scratch.data<float>() + worker * scratch_floats);
      });
}

}  // namespace

void multiply_f32(std::span<const Product> products, Stream stream) {
  multiply(products,
           select(stream, avx2::multiply_tile<avx2::F32Terms>, avx512::multiply_tile<avx512::F32Terms>),
           stream);
}

void multiply_bf16_pairs(std::span<const Product> products, Stream stream) {
  multiply(products, avx512_bf16::multiply_tile<avx512_bf16::Bf16Pairs>, stream);
}

}  // namespace tessera::kernels::cpu
