#pragma once
// Rows in consecutive parts (the segments of attention, the groups of a product), each cut into tiles from
// its own beginning on, so that what a row gets does not depend on other parts.  The host lists the tiles; a
// block takes one.

#include <algorithm>
#include <span>
#include <vector>

#include "runtime/tensor.h"

namespace tessera::kernels {

/// Rows [first, end) or, where that is more than a tile holds, the first of them; of a part that begins at
/// row begin.
struct alignas(16) RowTile {
  int32_t part, begin, first, end;
};

/// part p has rows [offsets[p], offsets[p + 1]); parts without rows have no tile.
inline std::vector<RowTile> row_tiles(std::span<const int64_t> offsets, int rows_per_tile) {
  std::vector<RowTile> tiles;
  for (size_t part = 0; part + 1 < offsets.size(); ++part)
    for (int64_t first = offsets[part]; first < offsets[part + 1]; first += rows_per_tile)
      tiles.push_back({static_cast<int32_t>(part), static_cast<int32_t>(offsets[part]),
                       static_cast<int32_t>(first), static_cast<int32_t>(offsets[part + 1])});
  return tiles;
}

/// One tile per part, of all its rows; also for parts without rows.
inline std::vector<RowTile> whole_parts(std::span<const int64_t> offsets) {
  std::vector<RowTile> tiles;
  for (size_t part = 0; part + 1 < offsets.size(); ++part)
    tiles.push_back({static_cast<int32_t>(part), static_cast<int32_t>(offsets[part]),
                     static_cast<int32_t>(offsets[part]), static_cast<int32_t>(offsets[part + 1])});
  return tiles;
}

/// The list in the stream's memory; the tensor must outlive the launches that read it in the order of the
/// stream only.
class DeviceRowTiles {
 public:
  DeviceRowTiles(const std::vector<RowTile>& tiles, Stream stream)
      : count_(static_cast<int64_t>(tiles.size())),
        words_(Tensor::from(std::span(reinterpret_cast<const int32_t*>(tiles.data()), 4 * tiles.size()),
                            {count_, 4}, stream)) {}

  int64_t count() const { return count_; }
  const RowTile* data() const { return reinterpret_cast<const RowTile*>(words_.data<int32_t>()); }

 private:
  int64_t count_;
  Tensor words_;
};

}  // namespace tessera::kernels
