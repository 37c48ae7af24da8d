// Nearest codes and squared errors.
#include <limits>

#include "kernels/nearest_code.h"
#include "kernels/squared_error.h"
#include "tests/kernels/cuda/beside_cpu.h"

namespace tessera::kernels {
namespace {

class CudaQuantise : public BesideCpuTest {
 protected:
  void expect_same_codes(const Tensor& x, const Tensor& codes) {
    expect_same_bits({str("nearest_code ", x.shape(), " ", codes.shape()),
                      {x, codes},
                      {unwritten({x.shape()[0]}, DType::i32)},
                      [](auto& in, auto& out, Stream s) { nearest_code(in[0], in[1], out[0], s); }});
  }
};

TEST_F(CudaQuantise, NearestCodesAreThoseOfTheProcessor) {
  for (const auto& [rows, codes, width] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {0, 3, 2}, {1, 1, 1}, {9, 31, 33}, {17, 65, 8}, {8, 32, 32}, {3, 40, 256}})
    expect_same_codes(uniform("x", {rows, width}), uniform("codes", {codes, width}));
}

TEST_F(CudaQuantise, TiesAndNaNAreThoseOfTheProcessor) {
  const Tensor codes = uniform("codes", {70, 2});
  const std::span<float> code = codes.values<float>();
  for (const size_t copy : {9, 33, 41, 69}) std::copy_n(code.begin() + 10, 2, code.begin() + 2 * copy);
  code[0] = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = uniform("x", {40, 2});
  const std::span<float> row = x.values<float>();
  std::copy_n(code.begin() + 10, 2, row.begin());
  row[2] = std::numeric_limits<float>::quiet_NaN();
  row[4] = std::numeric_limits<float>::infinity();
  expect_same_codes(x, codes);
}

TEST_F(CudaQuantise, SquaredErrorIsThatOfTheProcessor) {
  for (const Shape& shape : {Shape{0, 4}, {1, 1}, {9, 31}, {7, 192}, {16, 64}}) {
    const Tensor x = uniform("x", shape), target = uniform("target", shape);
    expect_like_cpu({str("squared_error_forward ", shape),
                     {x, target},
                     {unwritten({shape[0]}, DType::f32)},
                     [](auto& in, auto& out, Stream s) { squared_error_forward(in[0], in[1], out[0], s); }},
                    {{.terms = shape[1] + 2}});
    expect_same_bits({str("squared_error_backward ", shape),
                      {x, target, uniform("dtotal", {1})},
                      {unwritten(shape, DType::f32)},
                      [](auto& in, auto& out, Stream s) {
                        squared_error_backward({in[0], in[1], in[2], out[0]}, 0.3f, s);
                      }});
  }
}

}  // namespace
}  // namespace tessera::kernels
