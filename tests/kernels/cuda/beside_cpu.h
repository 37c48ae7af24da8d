#pragma once
// Runs a kernel on the processor and on the simulated GPU and compares what it wrote.

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/kernels/cuda/cuda_kernel_test.h"

namespace tessera::kernels {

using Tensors = std::vector<Tensor>;

class BesideCpuTest : public CudaKernelTest {
 protected:
  using Kernel = std::function<void(const Tensors& in, const Tensors& out, Stream stream)>;

  struct Run {
    std::string name;
    Tensors in, out;  ///< on the processor; empty handles stay empty.  out: what outputs hold before
    Kernel kernel;
  };

  /// Compares on tensors that begin at a boundary of 16 bytes, which vectors need, and one element behind it.
  /// roundings: for each output; without terms the bits must be the same.
  void expect_like_cpu(const Run& run, const std::vector<Roundings>& roundings) {
    const Tensors expected = outputs(run, cpu(), 0);
    for (const int64_t offset : {0, 1}) {
      SCOPED_TRACE(str(run.name, offset ? ", not aligned" : ""));
      const Tensors actual = outputs(run, gpu(), offset), again = outputs(run, gpu(), offset);
      for (size_t i = 0; i < expected.size(); ++i) {
        const std::string what = str("output ", i);
        EXPECT_TRUE(same_bits(actual[i], again[i])) << what << " does not repeat";
        if (roundings[i].terms == 0)
          EXPECT_TRUE(same_bits(actual[i], expected[i])) << what << " has other bits";
        else
          EXPECT_TRUE(
              close({what, values_of(actual[i]), values_of(expected[i]), expected[i].dtype(), roundings[i]}));
      }
    }
  }
  void expect_same_bits(const Run& run) { expect_like_cpu(run, std::vector<Roundings>(run.out.size())); }

  /// An output before a kernel has written it: no value that one would write.
  Tensor unwritten(Shape shape, DType dtype) {
    const Tensor tensor = Tensor::empty(shape, dtype, cpu());
    std::memset(tensor.bytes_data(), 0x5a, static_cast<size_t>(tensor.bytes()));
    return tensor;
  }
  Tensor uniform(const char* name, Shape shape, DType dtype = DType::f32) {
    return uniform_tensor(name, shape, dtype, cpu(), 2);
  }
  Tensor numbers(const std::vector<int32_t>& values) {
    return Tensor::from(values, {std::ssize(values)}, cpu());
  }

 private:
  static Tensors outputs(const Run& run, Stream stream, int64_t offset) {
    const auto there = [&](const Tensors& tensors) {
      Tensors copies;
      for (const Tensor& tensor : tensors)
        copies.push_back(tensor ? copy_to(tensor, stream, offset) : Tensor());
      return copies;
    };
    const Tensors in = there(run.in), out = there(run.out);
    run.kernel(in, out, stream);
    return out;
  }
};

}  // namespace tessera::kernels
