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

/// Addresses of the cache lines of a part, in order; those beyond kMost are left out.
class LinesAhead {
 public:
  void fill(const Ahead& part) {
    const int64_t a_line = parts(part.bytes, 64),
                  lines = a_line > 0 ? std::min(part.lines, kMost / a_line) : 0;
    if (a_line == 1)
      for (int64_t i = 0; i < lines; ++i) lines_[i] = part.line + i * part.stride;
    else
      for (int64_t i = 0; i < lines; ++i)
        for (int64_t j = 0; j < a_line; ++j) lines_[i * a_line + j] = part.line + i * part.stride + j * 64;
    count_ = lines * a_line;
  }
  /// Those of share i of so many.
  std::span<const char* const> share(int64_t i, int64_t shares) const {
    const int64_t begin = count_ * i / shares;
    return {lines_ + begin, static_cast<size_t>(count_ * (i + 1) / shares - begin)};
  }

 private:
  static constexpr int64_t kMost = 1024;
  const char* lines_[kMost];
  int64_t count_ = 0;
};

}  // namespace tessera::kernels::cpu
