// Norms of rows: held by groups of threads of all sizes, and the wide ones by the simple kernels.
#include "kernels/qk_norm.h"
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

  void expect_qk_norm_like_cpu(int64_t heads, const Size& size) {
    const auto [rows, cols, dtype] = size;
    const std::string name = str("qk_norm ", rows, "x", heads, "x", cols, " ", dtype);
    const Tensor x = uniform("x", {rows, heads, cols}, dtype), weight = uniform("weight", {cols}, dtype),
                 bias = uniform("bias", {cols}, dtype), table = uniform("table", {rows, cols});
    const Tensor y = unwritten({rows, heads, cols}, dtype),
                 statistics = unwritten({rows * heads, 2}, DType::f32);
    expect_like_cpu({name,
                     {x, weight, bias, table},
                     {y, statistics},
                     [](auto& in, auto& out, Stream s) {
                       qk_norm_forward({in[0], in[1], in[2], in[3], out[0], out[1]}, 1e-5f, s);
                     }},
                    {{.terms = 2 * cols + 12}, {.terms = 2 * cols + 6}});
    qk_norm_forward({x, weight, bias, table, y, statistics}, 1e-5f, cpu());
    expect_like_cpu({name + " backward",
                     {x, weight, table, statistics},
                     {uniform("dy", {rows, heads, cols}, dtype), unwritten({cols}, DType::f32),
                      unwritten({cols}, DType::f32)},
                     [](auto& in, auto& out, Stream s) {
                       qk_norm_backward({in[0], in[1], in[2], in[3], out[0], out[0], out[1], out[2]}, s);
                     }},
                    {{.terms = 4 * cols + 15},
                     {.terms = rows * heads + 8, .bf16_stores = 0},
                     {.terms = rows * heads + 4, .bf16_stores = 0}});
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
    }
}

TEST_F(CudaNorm, HeadsInRegistersAreThoseOfTheProcessor) {
  for (const DType dtype : kFloats)
    for (const auto& [rows, heads, cols] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{{0, 2, 8},
                                                                                              {3, 1, 34},
                                                                                              {31, 3, 64},
                                                                                              {11, 3, 126},
                                                                                              {3, 2, 1024},
                                                                                              {26, 5, 8},
                                                                                              {3, 1, 4096},
                                                                                              {60, 7, 16}})
      expect_qk_norm_like_cpu(heads, {rows, cols, dtype});
}

/// More rows than the blocks of a launch take at once, each by two warps.
TEST_F(CudaNorm, BlocksTakeRowsInTurns) { expect_rms_norm_like_cpu({1600, 528, DType::f32}); }

TEST_F(CudaNorm, WideRowsAreThoseOfTheProcessor) {
  for (const DType dtype : kFloats) {
    expect_rms_norm_like_cpu({3, 4097, dtype});
    expect_qk_norm_like_cpu(2, {3, 4098, dtype});
  }
}

}  // namespace
}  // namespace tessera::kernels
