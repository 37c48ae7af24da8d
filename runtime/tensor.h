#pragma once
// Tensor: a dense row-major array on one device.  A handle: copies share storage, constness is of the handle.
// There are no strides: a reshape or a contiguous range is a view, a transpose is a kernel.

#include <memory>
#include <span>
#include <vector>

#include "runtime/device.h"
#include "runtime/dtype.h"
#include "runtime/error.h"
#include "runtime/shape.h"

namespace tessera {

class Tensor {
 public:
  Tensor() = default;  ///< no tensor; converts to false

  /// Uninitialised, in the stream's memory.  On meta there is no storage: data() throws.
  static Tensor empty(Shape shape, DType dtype, Stream stream);
  static Tensor zeros(Shape shape, DType dtype, Stream stream);
  /// Uninitialised, of the shape, dtype and stream of another.
  static Tensor like(const Tensor& other) { return empty(other.shape_, other.dtype_, other.stream()); }
  /// A copy of host values.  Throws Error when their number is not the shape's.
  template <class T>
  static Tensor from(std::span<const T> values, Shape shape, Stream stream) {
    Tensor tensor = empty(shape, dtype_of<T>, stream);
    tensor.assign(values);
    return tensor;
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape, Stream stream) {
    return from(std::span<const T>(values), shape, stream);
  }

  /// The host values themselves, which must stay while the tensor is used.  It can be copied and sent; its stream has no engine to
  /// compute with.
  template <class T>
  static Tensor over(std::span<T> values) {
    return over(values.data(), {static_cast<int64_t>(values.size())}, dtype_of<T>);
  }

  explicit operator bool() const { return storage_ != nullptr; }
  /// True when no other handle or view holds the storage.
  bool sole_owner() const { return storage_.use_count() == 1; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Stream stream() const;  ///< the queue it was made on; throws Error when there is no tensor
  Device device() const { return stream().device; }
  int64_t count() const { return shape_.count(); }
  int64_t bytes() const { return count() * bytes_of(dtype_); }

  /// Throws Error when T is not the dtype or there is no storage.
  template <class T>
  T* data() const {
    TESSERA_CHECK(dtype_of<T> == dtype_, "tensor: is ", dtype_, ", asked for ", dtype_of<T>);
    return static_cast<T*>(bytes_data());
  }
  /// On cpu alone: throws Error elsewhere.
  template <class T>
  std::span<T> values() const {
    TESSERA_CHECK(device().backend == Backend::cpu, "tensor: values on ", device(), " must be copied first");
    return {data<T>(), static_cast<size_t>(count())};
  }
  /// A copy of the values on the host, from any device with storage.  The host waits for them.
  template <class T>
  std::vector<T> to_vector() const {
    std::vector<T> values(static_cast<size_t>(count()));
    TESSERA_CHECK(dtype_of<T> == dtype_, "tensor: is ", dtype_, ", asked for ", dtype_of<T>);
    copy_out(values.data());
    return values;
  }
  /// Overwrites all values from the host.  Throws Error when their number is not the shape's.
  template <class T>
  void assign(std::span<const T> values) const {
    TESSERA_CHECK(dtype_of<T> == dtype_, "tensor: is ", dtype_, ", got ", dtype_of<T>);
    copy_in(values.data(), static_cast<int64_t>(values.size()));
  }
  /// Itself when it is on the stream's device, else a copy there.  One side must be cpu.
  Tensor to(Stream stream) const;
  void* bytes_data() const;  ///< throws Error when there is no storage

  /// Gives the memory back while every handle and view stays; data() throws until restore(), which takes new,
  /// uninitialised memory.  For parameters that are whole only while they are used.
  void discard() const;
  void restore() const;

  /// The same elements in another shape.  Throws Error when the counts differ.
  Tensor reshape(Shape shape) const;
  /// Elements [begin, begin + shape.count()) of the flat tensor, as shape.  Throws Error when they are not inside.
  Tensor slice(int64_t begin, Shape shape) const;

 private:
  struct Storage;
  static Tensor over(void* values, Shape shape, DType dtype);
  void copy_in(const void* values, int64_t count) const;
  void copy_out(void* values) const;

  std::shared_ptr<Storage> storage_;
  int64_t offset_bytes_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
};

/// Copies elements in the order of from's stream; shapes may differ, counts, dtypes and devices may not.  Throws Error then.
void copy(const Tensor& from, const Tensor& to);

}  // namespace tessera
