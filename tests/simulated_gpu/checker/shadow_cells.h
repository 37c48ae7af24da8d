#pragma once
// The memory of the checkers about a run of bytes: for every cell of 4, 2 or 1 bytes who wrote it last and
// who read it since.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "tests/simulated_gpu/checker/accessor.h"

namespace simulated_gpu {

/// Cells are as coarse as the accesses so far allow, and split when one begins or ends inside a cell.
class ShadowCells {
 public:
  explicit ShadowCells(uint64_t bytes);

  struct Range {
    size_t first, count;
  };
  /// The cells of bytes [offset, offset + bytes), which lie inside; bytes > 0.
  Range range(uint64_t offset, uint64_t bytes) {
    const uint64_t end = offset + bytes;
    const uint64_t boundaries = offset | (end == bytes_ ? 0 : end);  // the last cell may be ragged
    if (boundaries & (cell_bytes_ - 1)) split(boundaries);
    const size_t first = offset >> shift_;
    return {first, ((end - 1) >> shift_) + 1 - first};
  }
  uint64_t offset_of(size_t cell) const { return static_cast<uint64_t>(cell) << shift_; }
  uint64_t bytes() const { return bytes_; }
  std::span<Accessor> all() { return {cells_.get(), 3 * count_}; }

  Accessor* writer() { return cells_.get(); }
  /// Who read it last since it was written.
  Accessor* reader() { return cells_.get() + count_; }
  /// Another reader since then, of another warp, block or operation than `reader`: of the farthest that there
  /// is.
  Accessor* other_reader() { return cells_.get() + 2 * count_; }

 private:
  void split(uint64_t boundaries);

  struct Free {
    void operator()(Accessor* cells) const { std::free(cells); }
  };
  using Array = std::unique_ptr<Accessor[], Free>;
  static Array make(size_t count);

  uint64_t bytes_;
  uint64_t cell_bytes_ = 4;
  int shift_ = 2;
  size_t count_;
  Array cells_;  ///< writers, then readers, then other readers
};

}  // namespace simulated_gpu
