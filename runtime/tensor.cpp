#include "runtime/tensor.h"

#include <cstring>
#include <utility>

#include "runtime/cpu_engine.h"

namespace tessera {

/// One allocation, returned to the stream's memory with the last handle.
struct Tensor::Storage {
  Stream stream;
  int64_t bytes;
  void* data = nullptr;

  Storage(Stream made_on, int64_t size) : stream(made_on), bytes(size) { acquire(); }
  ~Storage() { release(); }
  void acquire() {
    if (!data && stream.device.backend != Backend::meta) data = engine_of(stream).memory.allocate(bytes);
  }
  void release() {
    if (data) engine_of(stream).memory.release(std::exchange(data, nullptr), bytes);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
};

Tensor Tensor::empty(Shape shape, DType dtype, Stream stream) {
  Tensor tensor;
  tensor.storage_ = std::make_shared<Storage>(stream, shape.count() * bytes_of(dtype));
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  return tensor;
}

Tensor Tensor::zeros(Shape shape, DType dtype, Stream stream) {
  Tensor tensor = empty(shape, dtype, stream);
  if (tensor.storage_->data) std::memset(tensor.storage_->data, 0, static_cast<size_t>(tensor.bytes()));
  return tensor;
}

Stream Tensor::stream() const {
  TESSERA_CHECK(storage_, "tensor: asked an empty handle for its stream");
  return storage_->stream;
}

void* Tensor::bytes_data() const {
  TESSERA_CHECK(storage_ && storage_->data, "tensor: ", shape_, " has no storage");
  return static_cast<char*>(storage_->data) + offset_bytes_;
}

void Tensor::discard() const { storage_->release(); }
void Tensor::restore() const { storage_->acquire(); }

Tensor Tensor::reshape(Shape shape) const {
  TESSERA_CHECK(shape.count() == count(), "reshape: ", shape_, " has another count than ", shape);
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::slice(int64_t begin, Shape shape) const {
  TESSERA_CHECK(0 <= begin && begin + shape.count() <= count(), "slice: ", shape, " at ", begin, " leaves ",
                shape_);
  Tensor view = *this;
  view.shape_ = shape;
  view.offset_bytes_ += begin * bytes_of(dtype_);
  return view;
}

void Tensor::copy_in(const void* values, int64_t count) {
  TESSERA_CHECK(count == shape_.count(), "tensor: ", count, " values for shape ", shape_);
  if (storage_->data && count > 0) std::memcpy(storage_->data, values, static_cast<size_t>(bytes()));
}

void copy(const Tensor& from, const Tensor& to) {
  TESSERA_CHECK(from.count() == to.count() && from.dtype() == to.dtype(), "copy: from ", from.shape(), " ",
                from.dtype(), " to ", to.shape(), " ", to.dtype());
  if (from.device().backend == Backend::meta || to.device().backend == Backend::meta || from.count() == 0)
    return;
  if (to.bytes_data() != from.bytes_data())
    std::memmove(to.bytes_data(), from.bytes_data(), static_cast<size_t>(from.bytes()));
}

}  // namespace tessera
