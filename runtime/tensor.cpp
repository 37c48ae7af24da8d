#include "runtime/tensor.h"

#include <cstring>
#include <optional>
#include <utility>

#include "runtime/cpu_engine.h"
#include "runtime/cuda_engine.h"
#include "runtime/meta_engine.h"

namespace tessera {

/// One allocation, returned to the stream's memory with the last handle, or memory that others own.
struct Tensor::Storage {
  Stream stream;
  int64_t bytes;
  void* data = nullptr;
  std::optional<MetaEngine::Block> counted{};  ///< on a meta stream that counts
  bool owned = true;

  Storage(Stream made_on, int64_t size) : stream(made_on), bytes(size) { acquire(); }
  Storage(void* values, int64_t size)
      : stream({{Backend::cpu, 0}, nullptr}), bytes(size), data(values), owned(false) {}
  ~Storage() { release(); }
  bool on_cuda() const { return stream.device.backend == Backend::cuda; }
  void acquire() {
    if (stream.device.backend == Backend::meta) {
      if (MetaEngine* engine = meta_engine_of(stream); engine && !counted) counted = engine->take(bytes);
    } else if (!data) {
      data = on_cuda() ? cuda_engine_of(stream).memory.allocate(bytes)
                       : engine_of(stream).memory.allocate(bytes);
    }
  }
  void release() {
    if (counted) meta_engine_of(stream)->give_back(*std::exchange(counted, std::nullopt), bytes);
    void* block = std::exchange(data, nullptr);
    if (!block || !owned) return;
    if (on_cuda())
      cuda_engine_of(stream).memory.release(block, bytes);
    else
      engine_of(stream).memory.release(block, bytes);
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
  if (!tensor.storage_->data || tensor.count() == 0) return tensor;
  if (tensor.storage_->on_cuda())
    cuda_engine_of(stream).zero(tensor.storage_->data, tensor.bytes());
  else
    std::memset(tensor.storage_->data, 0, static_cast<size_t>(tensor.bytes()));
  return tensor;
}

Tensor Tensor::over(void* values, Shape shape, DType dtype) {
  Tensor tensor;
  tensor.storage_ = std::make_shared<Storage>(values, shape.count() * bytes_of(dtype));
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
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

Tensor Tensor::to(Stream stream) const {
  if (device() == stream.device) return *this;
  Tensor there = empty(shape_, dtype_, stream);
  if (count() == 0) return there;
  if (stream.device.backend == Backend::cpu) {
    copy_out(there.bytes_data());
  } else {
    TESSERA_CHECK(device().backend == Backend::cpu, "tensor: no copy from ", device(), " to ", stream.device);
    there.copy_in(bytes_data(), count());
  }
  return there;
}

void Tensor::copy_in(const void* values, int64_t count) const {
  TESSERA_CHECK(count == shape_.count(), "tensor: ", count, " values for shape ", shape_);
  if (!storage_->data || count == 0) return;
  if (storage_->on_cuda()) {
    CudaEngine& engine = cuda_engine_of(storage_->stream);
    engine.staging.to_device(values, bytes_data(), bytes(), engine.stream_handle);
  } else {
    std::memcpy(bytes_data(), values, static_cast<size_t>(bytes()));
  }
}

void Tensor::copy_out(void* values) const {
  if (count() == 0) return;
  const void* data = bytes_data();
  if (storage_->on_cuda()) {
    CudaEngine& engine = cuda_engine_of(storage_->stream);
    engine.staging.to_host(data, values, bytes(), engine.stream_handle);
  } else {
    std::memcpy(values, data, static_cast<size_t>(bytes()));
  }
}

void copy(const Tensor& from, const Tensor& to) {
  TESSERA_CHECK(from.count() == to.count() && from.dtype() == to.dtype(), "copy: from ", from.shape(), " ",
                from.dtype(), " to ", to.shape(), " ", to.dtype());
  if (from.device().backend == Backend::meta || to.device().backend == Backend::meta || from.count() == 0)
    return;
  TESSERA_CHECK(from.device() == to.device(), "copy: from ", from.device(), " to ", to.device());
  if (to.bytes_data() == from.bytes_data()) return;
  if (from.device().backend == Backend::cuda)
    cuda_engine_of(from.stream()).copy(from.bytes_data(), to.bytes_data(), from.bytes());
  else
    std::memmove(to.bytes_data(), from.bytes_data(), static_cast<size_t>(from.bytes()));
}

}  // namespace tessera
