#include "tests/simulated_gpu/checker/shadow_cells.h"

#include <new>
#include <utility>

namespace simulated_gpu {

/// From calloc: pages of a large array that nobody touches take no memory.
ShadowCells::Array ShadowCells::make(size_t count) {
  Array cells(
      static_cast<Accessor*>(std::calloc(3 * count + 1, sizeof(Accessor))));  // null only without memory
  if (!cells) throw std::bad_alloc();
  return cells;
}

ShadowCells::ShadowCells(uint64_t bytes)
    : bytes_(bytes), count_((bytes + cell_bytes_ - 1) / cell_bytes_), cells_(make(count_)) {}

void ShadowCells::split(uint64_t boundaries) {
  const uint64_t old_bytes = cell_bytes_;
  while (boundaries & (cell_bytes_ - 1)) {
    cell_bytes_ /= 2;
    --shift_;
  }
  const size_t count = (bytes_ + cell_bytes_ - 1) / cell_bytes_;
  Array cells = make(count);
  for (size_t plane = 0; plane < 3; ++plane)
    for (size_t i = 0; i < count; ++i)
      cells[plane * count + i] = cells_[plane * count_ + i * cell_bytes_ / old_bytes];
  count_ = count;
  cells_ = std::move(cells);
}

}  // namespace simulated_gpu
