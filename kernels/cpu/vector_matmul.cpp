#include "kernels/cpu/vector_matmul.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/cpu/ahead.h"
#include "kernels/cpu/matmul_tile.h"
#include "kernels/cpu/select.h"

namespace tessera::kernels::cpu {
namespace {

// Sizes in words of 32 bits of what multiply_tile() packs.  The panels of a tile take half of a 1 MiB L2; a panel takes at most half of
// a 32 KiB L1, and so does half of the widest strip, of which there is room for two.
constexpr int64_t kPanelStride =
    kDepth + 16;  // no power of two: rows of a panel fall on different cache sets
constexpr int64_t kStripFloats = 64 * kDepth;

}  // namespace
}  // namespace tessera::kernels::cpu

#define TESSERA_KERNELS "kernels/cpu/vector_matmul.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels::cpu {
namespace {

using MultiplyTile = void(const Product&, const Tile&, float* scratch);

void multiply(std::span<const Product> products, MultiplyTile* multiply_tile, Stream stream) {
  const TileSize most{.rows = 512, .columns = 2048};
  const bool waits = std::ranges::any_of(products, [](const Product& product) {
    return product.k > kDepth && (!product.sums.empty() || product.c.dtype == DType::bf16);
  });
  // Of a tile as it is cut for these products and threads.
  const TileSize size = tile_size(products, most, engine_of(stream).pool.threads());
  const int64_t floats = select(stream, avx2::scratch_floats, avx512::scratch_floats,
                                avx512_bf16::scratch_floats)(size.rows, waits ? size.rows * size.columns : 0);
  multiply_tiles(
      products, size, floats * int64_t{sizeof(float)},
      [=](const Product& product, const Tile& tile, void* scratch) {
        multiply_tile(product, tile, static_cast<float*>(scratch));
      },
      stream);
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
