#pragma once
// Asking for parts of matrices before they are needed.

#include <algorithm>

#include "kernels/cpu/matmul_product.h"

namespace tessera::kernels::cpu {

/// Part of a matrix that will be needed: lines of consecutive elements.  Asked for cache line by cache line, since many at once would
/// make the multiply-adds wait for room.
struct Ahead {
  const char* line = nullptr;
  int64_t stride = 0, bytes = 0;  ///< of a line
  int64_t lines = 0, at = 0;

  Ahead() = default;
  Ahead(const Matrix& matrix, int64_t row, int64_t rows, int64_t column, int64_t columns)
      : lines(matrix.transposed ? columns : rows) {
    if (lines == 0) return;  // the matrix may have no memory
    const int64_t element = bytes_of(matrix.dtype);
    line = static_cast<const char*>(matrix.data) +
           (matrix.transposed ? column * matrix.stride + row : row * matrix.stride + column) * element;
    stride = matrix.stride * element;
    bytes = (matrix.transposed ? rows : columns) * element;
  }
  int64_t cache_lines() const { return lines * parts(bytes, 64); }
  /// Takes the first so many lines off.
  Ahead take(int64_t count) {
    Ahead some = *this;
    some.lines = std::min(lines, count);
    lines -= some.lines;
    line += some.lines * stride;
    return some;
  }
  /// What so many calls of prefetch() would leave out.
  template <int kWrites>
  void prefetch_beyond(int64_t calls) {
    for (int64_t rest = cache_lines() - calls; rest > 0; --rest) prefetch<kWrites>();
  }
  template <int kWrites>
  void prefetch() {
    if (lines == 0) return;
    __builtin_prefetch(line + at, kWrites, 2);
    at += 64;
    if (at < bytes) return;
    at = 0;
    line += stride;
    --lines;
  }
};

/// Addresses of cache lines in the order in which they are to be asked for; those beyond kMost are left out.
class LinesAhead {
 public:
  void clear() { count_ = 0; }
  void add(const Ahead& part) {
    for (int64_t i = 0; i < part.lines; ++i)
      for (int64_t at = 0; at < part.bytes && count_ < kMost; at += 64) lines_[count_++] = part.line + i * part.stride + at;
  }
  std::span<const char* const> all() const { return {lines_, count_}; }

 private:
  static constexpr size_t kMost = 512;  // a strip of B
  const char* lines_[kMost];
  size_t count_ = 0;
};

}  // namespace tessera::kernels::cpu
