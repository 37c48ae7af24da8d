// Kernels without sums across elements.
#include <cmath>

#include "kernels/adamw.h"
#include "kernels/fill.h"
#include "kernels/pointwise.h"
#include "kernels/random_fill.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/kernels/cuda/beside_cpu.h"

namespace tessera::kernels {
namespace {

class CudaElementwise : public BesideCpuTest {};

constexpr DType kFloats[] = {DType::f32, DType::bf16};
constexpr int64_t kCounts[] = {0, 1, 31, 129, 1025};

TEST_F(CudaElementwise, PointwiseWithoutExponentialsHasTheBitsOfTheProcessor) {
  for (const DType dtype : kFloats)
    for (const int64_t count : kCounts) {
      const std::string size = str(" of ", count, " ", dtype);
      const Tensor a = uniform("a", {count}, dtype), b = uniform("b", {count}, dtype);
      expect_same_bits({"add" + size, {a, b}, {unwritten({count}, dtype)}, [](auto& in, auto& out, Stream s) {
                          add(in[0], in[1], out[0], s);
                        }});
      expect_same_bits({"add in place" + size, {b}, {a}, [](auto& in, auto& out, Stream s) {
                          add(out[0], in[0], out[0], s);
                        }});
      expect_same_bits({"subtract in place" + size, {a}, {b}, [](auto& in, auto& out, Stream s) {
                          subtract(in[0], out[0], out[0], s);
                        }});
      expect_same_bits(
          {"negate in place" + size, {}, {a}, [](auto&, auto& out, Stream s) { negate(out[0], out[0], s); }});
      expect_same_bits({"sigmoid_backward" + size, {a}, {b}, [](auto& in, auto& out, Stream s) {
                          sigmoid_backward(in[0], out[0], out[0], s);
                        }});
      for (const DType to : kFloats)
        expect_same_bits({"cast" + size, {a}, {unwritten({count}, to)}, [](auto& in, auto& out, Stream s) {
                            cast(in[0], out[0], s);
                          }});
    }
}

TEST_F(CudaElementwise, ExponentialsDifferByRounding) {
  for (const DType dtype : kFloats)
    for (const int64_t count : kCounts) {
      const std::string size = str(" of ", count, " ", dtype);
      const Tensor a = uniform("a", {count}, dtype), b = uniform("b", {count}, dtype),
                   dy = uniform("dy", {count}, dtype);
      expect_like_cpu({"sigmoid_forward" + size,
                       {a},
                       {unwritten({count}, dtype)},
                       [](auto& in, auto& out, Stream s) { sigmoid_forward(in[0], out[0], s); }},
                      {{.terms = 5}});
      expect_like_cpu({"silu_forward" + size,
                       {a},
                       {unwritten({count}, dtype)},
                       [](auto& in, auto& out, Stream s) { silu_forward(in[0], out[0], s); }},
                      {{.terms = 6}});
      expect_like_cpu({"silu_backward" + size,
                       {a},
                       {dy},
                       [](auto& in, auto& out, Stream s) { silu_backward(in[0], out[0], out[0], s); }},
                      {{.terms = 9}});
      expect_like_cpu({"swiglu_forward" + size,
                       {a, b},
                       {unwritten({count}, dtype)},
                       [](auto& in, auto& out, Stream s) { swiglu_forward(in[0], in[1], out[0], s); }},
                      {{.terms = 7}});
      expect_like_cpu(
          {"swiglu_backward" + size,
           {dy},
           {a, b},
           [](auto& in, auto& out, Stream s) { swiglu_backward(out[0], out[1], in[0], out[0], out[1], s); }},
          {{.terms = 14}, {.terms = 7}});
    }
}

TEST_F(CudaElementwise, AdamWHasTheBitsOfTheProcessor) {
  AdamWOptions options;
  options.rate = 1e-3f;
  options.decay = 0.1f;
  options.correction1 = 3;
  options.correction2 = 7;
  options.grad_scale = 0.3f;
  for (const int64_t count : kCounts) {
    const Tensor second = uniform("second", {count});
    for (float& value : second.values<float>()) value = std::abs(value);
    for (const bool rounds : {false, true})
      expect_same_bits({str("adamw of ", count),
                        {uniform("grad", {count})},
                        {uniform("value", {count}), uniform("first", {count}), second,
                         unwritten({rounds ? count : 0}, DType::bf16)},
                        [&](auto& in, auto& out, Stream s) {
                          adamw(out[0], in[0], out[1], out[2], rounds ? out[3] : Tensor(), options, s);
                        }});
  }
}

TEST_F(CudaElementwise, FillsHaveTheBitsOfTheProcessor) {
  for (const int64_t count : {0, 1, 33, 20000}) {
    expect_same_bits(
        {str("fill of ", count), {}, {unwritten({count}, DType::f32)}, [](auto&, auto& out, Stream s) {
           fill(out[0], 1.5f, s);
         }});
    expect_same_bits(
        {str("fill_normal of ", count), {}, {unwritten({count}, DType::f32)}, [](auto&, auto& out, Stream s) {
           fill_normal(out[0],
                       {.seed = 7, .purpose = Purpose("w"), .begin = int64_t{1} << 40, .deviation = 0.02f},
                       s);
         }});
    expect_same_bits({str("fill_logistic of ", count),
                      {},
                      {unwritten({count}, DType::f32)},
                      [](auto&, auto& out, Stream s) {
                        fill_logistic(out[0], {.seed = 7, .purpose = Purpose("w"), .begin = int64_t{1} << 40},
                                      s);
                      }});
  }
}

TEST_F(CudaElementwise, RopeHasTheBitsOfTheProcessor) {
  for (const DType dtype : kFloats)
    for (const Shape& shape :
         {Shape{0, 2, 8}, {1, 1, 2}, {3, 2, 6}, {33, 3, 64}, {5, 2, 1040}, {2, 3, 0}, {300, 1, 2}}) {
      std::vector<int32_t> positions(static_cast<size_t>(shape[0]));
      for (size_t row = 0; row < positions.size(); ++row)
        positions[row] = static_cast<int32_t>(row * 7919 % 100000);
      const Tensor x = uniform("x", shape, dtype), table = unwritten({shape[0], shape[2]}, DType::f32);
      expect_same_bits({str("rope of ", shape, " ", dtype),
                        {numbers(positions)},
                        {x, x, table},
                        [](auto& in, auto& out, Stream s) {
                          rope_table(in[0], out[2], 500000, s);
                          rope_forward(out[0], out[2], out[0], s);
                          rope_backward(out[1], out[2], out[1], s);
                        }});
    }
}

}  // namespace
}  // namespace tessera::kernels
