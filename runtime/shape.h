#pragma once
// Sizes of a dense row-major tensor, outermost first.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>

#include "runtime/error.h"

namespace tessera {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) {
    TESSERA_CHECK(sizes.size() <= kMaxRank, "shape: at most ", kMaxRank, " dims, got ", sizes.size());
    for (int64_t size : sizes) {
      TESSERA_CHECK(size >= 0, "shape: dim ", rank_, " must not be negative, got ", size);
      sizes_[static_cast<size_t>(rank_++)] = size;
    }
  }

  int rank() const { return rank_; }

  /// Size of one dim; negative counts from the end.  Throws Error when there is no such dim.
  int64_t operator[](int dim) const {
    TESSERA_CHECK(-rank_ <= dim && dim < rank_, "shape: no dim ", dim, " in ", *this);
    return sizes_[static_cast<size_t>(dim < 0 ? dim + rank_ : dim)];
  }

  /// The same but for one dim.
  Shape with(int dim, int64_t size) const {
    Shape changed = *this;
    changed.sizes_.at(static_cast<size_t>(dim)) = size;
    return changed;
  }

  int64_t count() const {
    int64_t total = 1;
    for (int dim = 0; dim < rank_; ++dim) total *= sizes_[static_cast<size_t>(dim)];
    return total;
  }

  friend bool operator==(const Shape&, const Shape&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Shape& shape) {
    out << '[';
    for (int dim = 0; dim < shape.rank_; ++dim)
      out << (dim ? ", " : "") << shape.sizes_[static_cast<size_t>(dim)];
    return out << ']';
  }

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace tessera
