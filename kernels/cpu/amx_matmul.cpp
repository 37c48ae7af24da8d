#include "kernels/cpu/amx_matmul.h"

#include <algorithm>

#include "kernels/cpu/ahead.h"
#include "kernels/cpu/matmul_tile.h"
#include "kernels/cpu/tile_unit.h"
#include "runtime/isa.h"

namespace tessera::kernels::cpu {
namespace {

constexpr int64_t kAmxStripSteps = 16;  // a strip of B takes 32 of the first level's 48 KiB
constexpr int64_t kAmxPanelSteps = 32;  // the panels of a tile, 512 rows of A, take half of a 2 MiB L2
constexpr int64_t kAmxStripBytes = kAmxStripSteps * kAmxStepBytes;
constexpr int64_t kAmxPanelBytes = kAmxPanelSteps * kAmxStepBytes;

}  // namespace
}  // namespace tessera::kernels::cpu

#define TESSERA_KERNELS "kernels/cpu/amx_matmul.inc"
#include "kernels/cpu/amx_isa.h"

namespace tessera::kernels::cpu {

void multiply_amx(std::span<const Product> products, Stream stream) {
  const TileSize most{.rows = 512, .columns = 512};
  const int64_t panels = parts(most.rows, kAmxSide), blocks = panels * parts(most.columns, kAmxSide);
  const auto multiply_tile = supports(Isa::amx) ? amx::multiply_tile<AmxUnit> : amx::multiply_tile<PlainUnit>;
  multiply_tiles(
      products, tile_size(products, most, engine_of(stream).pool.threads()),
      kAmxStripBytes + kAmxBlockBytes + panels * kAmxPanelBytes + blocks * kAmxBlockBytes,
      [=](const Product& product, const Tile& tile, void* scratch) {
        multiply_tile(product, tile, static_cast<char*>(scratch));
      },
      stream);
}

}  // namespace tessera::kernels::cpu
