#pragma once
// Checks of arguments that the kernels' public functions share.  Messages start with the op's name.

#include <algorithm>
#include <functional>
#include <span>

#include "runtime/tensor.h"

namespace tessera::kernels {

struct Argument {
  const char* name;
  const Tensor& tensor;
};

struct Check {
  const char* op;
  Stream stream;

  /// Throws Error unless the tensor exists and lies on the stream's device.
  void present(const char* name, const Tensor& tensor) const {
    TESSERA_CHECK(tensor, op, ": ", name, " is missing");
    TESSERA_CHECK(tensor.device() == stream.device, op, ": ", name, " must be on ", stream.device, ", got ",
                  tensor.device());
  }

  /// Throws Error unless the tensor is present and has this shape and dtype.
  void tensor(const char* name, const Tensor& tensor, const Shape& shape, DType dtype) const {
    present(name, tensor);
    TESSERA_CHECK(tensor.shape() == shape && tensor.dtype() == dtype, op, ": ", name, " must be ", shape, " ",
                  dtype, ", got ", tensor.shape(), " ", tensor.dtype());
  }

  /// Throws Error unless the tensor is present, f32 or bf16.
  void floats(const char* name, const Tensor& tensor) const {
    present(name, tensor);
    TESSERA_CHECK(is_float(tensor.dtype()), op, ": ", name, " must be f32 or bf16, got ", tensor.dtype());
  }

  /// Throws Error unless the tensor is present, of this rank, f32 or bf16.
  void floats(const char* name, const Tensor& tensor, int rank) const {
    floats(name, tensor);
    TESSERA_CHECK(tensor.shape().rank() == rank, op, ": ", name, " must have ", rank, " dims, got ",
                  tensor.shape());
  }

  /// Throws Error unless the tensor is present, of this element count, whatever its shape, and dtype.
  void count(const char* name, const Tensor& tensor, int64_t count, DType dtype) const {
    present(name, tensor);
    TESSERA_CHECK(tensor.count() == count && tensor.dtype() == dtype, op, ": ", name, " must have ", count,
                  " elements of ", dtype, ", got ", tensor.shape(), " ", tensor.dtype());
  }

  /// Throws Error unless every value is in [least, bound).
  template <class Integer>
  void values(const char* name, std::span<Integer> values, int64_t least, int64_t bound) const {
    const auto wrong =
        std::find_if(values.begin(), values.end(), [=](int64_t v) { return v < least || v >= bound; });
    TESSERA_CHECK(wrong == values.end(), op, ": ", name, "[", wrong - values.begin(), "] must be in [", least,
                  ", ", bound, "), got ", int64_t{*wrong});
  }

  /// Throws Error unless the numbers run from 0 to last and never decrease.
  template <class Integer>
  void offsets(const char* name, std::span<const Integer> offsets, int64_t last) const {
    TESSERA_CHECK(!offsets.empty(), op, ": ", name, " must run from 0 to ", last, ", got no numbers");
    TESSERA_CHECK(offsets.front() == 0 && offsets.back() == last, op, ": ", name, " must run from 0 to ",
                  last, ", got ", offsets.front(), " to ", offsets.back());
    const auto wrong = std::adjacent_find(offsets.begin(), offsets.end(), std::greater<>());
    TESSERA_CHECK(wrong == offsets.end(), op, ": ", name, " must not decrease, got ", wrong[0], " before ",
                  wrong[1]);
  }
};

}  // namespace tessera::kernels
