// Norms of rows: held by groups of threads of all sizes, and the wide ones by the simple kernels.
#include "kernels/layer_norm.h"
#include "kernels/rms_norm.h"
#include "tests/kernels/cuda/beside_cpu.h"

namespace tessera::kernels {
namespace {

class CudaNorm : public BesideCpuTest {
 protected:
  struct Size {
    int64_t rows, cols;
    DType dtype;
  };

  void expect_rms_norm_like_cpu(const Size& size) {
    const auto [rows, cols, dtype] = size;
    const std::string name = str("rms_norm ", rows, "x", cols, " ", dtype);
    const Tensor x = uniform("x", {rows, cols}, dtype), weight = uniform("weight", {cols}, dtype);
    const Tensor y = unwritten({rows, cols}, dtype), inverse = unwritten({rows}, DType::f32);
    for (const Tensor& residual : {Tensor(), uniform("residual", {rows, cols}, dtype)})
      expect_like_cpu({name,
                       {x, weight, residual},
                       {y, inverse},
                       [](auto& in, auto& out, Stream s) {
                         rms_norm_forward(in[0], in[1], in[2], out[0], out[1], 1e-5f, s);
                       }},
                      {{.terms = cols + 7}, {.terms = cols + 4}});
    rms_norm_forward(x, weight, Tensor(), y, inverse, 1e-5f, cpu());
    expect_like_cpu({name + " backward",
                     {x, weight, inverse},
                     {uniform("dy", {rows, cols}, dtype), unwritten({cols}, DType::f32)},
                     [](auto& in, auto& out, Stream s) {
                       rms_norm_backward(in[0], in[1], in[2], out[0], out[0], out[1], s);
                     }},
                    {{.terms = 2 * cols + 9}, {.terms = rows + 5, .bf16_stores = 0}});
  }

  void expect_layer_norm_like_cpu(const Size& size) {
    const auto [rows, cols, dtype] = size;
    const std::string name = str("layer_norm ", rows, "x", cols, " ", dtype);
    const Tensor x = uniform("x", {rows, cols}, dtype), weight = uniform("weight", {cols}, dtype),
                 bias = uniform("bias", {cols}, dtype);
    const Tensor y = unwritten({rows, cols}, dtype), statistics = unwritten({rows, 2}, DType::f32);
    expect_like_cpu({name,
                     {x, weight, bias},
                     {y, statistics},
                     [](auto& in, auto& out, Stream s) {
                       layer_norm_forward(in[0], in[1], in[2], out[0], out[1], 1e-5f, s);
                     }},
                    {{.terms = 2 * cols + 9}, {.terms = 2 * cols + 6}});
    layer_norm_forward(x, weight, bias, y, statistics, 1e-5f, cpu());
    expect_like_cpu(
        {name + " backward",
         {x, weight, statistics},
         {uniform("dy", {rows, cols}, dtype), unwritten({cols}, DType::f32), unwritten({cols}, DType::f32)},
         [](auto& in, auto& out, Stream s) {
           layer_norm_backward(in[0], in[1], in[2], out[0], out[0], out[1], out[2], s);
         }},
        {{.terms = 4 * cols + 12},
         {.terms = rows + 5, .bf16_stores = 0},
         {.terms = rows + 1, .bf16_stores = 0}});
  }
};

constexpr DType kFloats[] = {DType::f32, DType::bf16};

TEST_F(CudaNorm, RowsInRegistersAreThoseOfTheProcessor) {
  for (const DType dtype : kFloats)
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{0, 8},
                                     {3, 33},
                                     {31, 64},
                                     {33, 127},
                                     {5, 1024},
                                     {130, 8},
                                     {3, 4096},
                                     {300, 16}}) {
      expect_rms_norm_like_cpu({rows, cols, dtype});
      expect_layer_norm_like_cpu({rows, cols, dtype});
    }
}

/// More rows than the blocks of a launch take at once, each by two warps.
TEST_F(CudaNorm, BlocksTakeRowsInTurns) { expect_rms_norm_like_cpu({1600, 528, DType::f32}); }

TEST_F(CudaNorm, WideRowsAreThoseOfTheProcessor) {
  for (const DType dtype : kFloats) {
    expect_rms_norm_like_cpu({3, 4097, dtype});
    expect_layer_norm_like_cpu({3, 4097, dtype});
  }
}

TEST_F(CudaNorm, OneColumnHasNoVariance) {
  for (const DType dtype : kFloats)
    expect_like_cpu(
        {str("layer_norm 5x1 ", dtype),
         {uniform("x", {5, 1}, dtype), uniform("weight", {1}, dtype), uniform("bias", {1}, dtype)},
         {unwritten({5, 1}, dtype), unwritten({5, 2}, DType::f32)},
         [](auto& in, auto& out, Stream s) {
           layer_norm_forward(in[0], in[1], in[2], out[0], out[1], 1e-5f, s);
         }},
        {{}, {}});
}

}  // namespace
}  // namespace tessera::kernels
