#pragma once
// A test that runs a kernel on the processor and on the simulated GPU: any report of a checker fails it.

#include <gtest/gtest.h>

#include "runtime/cuda_engine.h"
#include "tests/kernels/tensors.h"
#include "tests/simulated_gpu/control.h"
#include "tests/support/close.h"

namespace tessera {

class CudaKernelTest : public testing::Test {
 protected:
  void TearDown() override {
    gpu_.synchronize();
    for (const simulated_gpu::Report& report : simulated_gpu::take_reports())
      ADD_FAILURE() << simulated_gpu::describe(report);
  }

  Stream cpu() { return cpu_.stream(); }
  Stream gpu() { return gpu_.stream(); }

  /// Uninitialised on a stream, `offset` elements behind the beginning of an allocation, which is aligned to
  /// 16 bytes.
  static Tensor room(Shape shape, DType dtype, Stream stream, int64_t offset) {
    return Tensor::empty({shape.count() + offset}, dtype, stream).slice(offset, shape);
  }
  /// A tensor of the processor there.
  static Tensor copy_to(const Tensor& tensor, Stream stream, int64_t offset) {
    const Tensor there = room(tensor.shape(), tensor.dtype(), stream, offset);
    visit_any(tensor.dtype(), [&]<class T>() { there.assign(std::span<const T>(tensor.values<T>())); });
    return there;
  }

 private:
  CpuEngine cpu_{1, Isa::avx2};
  CudaEngine gpu_{0};
};

}  // namespace tessera
