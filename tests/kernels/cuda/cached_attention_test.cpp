#include "kernels/cached_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/cuda/beside_cpu.h"

namespace tessera::kernels {
namespace {

struct Problem {
  std::vector<int32_t> sequence, visible;  ///< of each row
  int64_t sequences, capacity, heads, head_dim;
  DType dtype;

  Shape rows() const { return {std::ssize(sequence), heads, head_dim}; }
  Shape cache() const { return {sequences * capacity, heads, head_dim}; }
};

class CudaCachedAttention : public BesideCpuTest {
 protected:
  void expect_like_cpu_for(const Problem& problem) {
    const int64_t longest = *std::max_element(problem.visible.begin(), problem.visible.end());
    expect_like_cpu(
        {str("capacity ", problem.capacity, ", head_dim ", problem.head_dim, ", ", problem.dtype),
         {uniform("q", problem.rows(), problem.dtype), uniform("keys", problem.cache(), problem.dtype),
          uniform("values", problem.cache(), problem.dtype), numbers(problem.sequence),
          numbers(problem.visible)},
         {unwritten(problem.rows(), problem.dtype)},
         [&](auto& in, auto& out, Stream s) {
           cached_attention({in[0], in[1], in[2], in[3], in[4], out[0]}, problem.capacity, s);
         }},
        {{.terms = 2 * (problem.head_dim + 2 * longest + 8), .bf16_stores = 2}});
  }
  /// y of a gpu for a query of ones.
  std::vector<double> attend(const Tensor& keys, const Tensor& values, int32_t visible) {
    const Shape row{1, keys.shape()[1], keys.shape()[2]};
    const Tensor q = Tensor::from(std::vector<float>(static_cast<size_t>(row.count()), 1.0f), row, gpu());
    const Tensor y = Tensor::like(q), zero = Tensor::zeros({1}, DType::i32, gpu());
    cached_attention({q, copy_to(keys, gpu(), 0), copy_to(values, gpu(), 0), zero,
                      Tensor::from(std::vector{visible}, {1}, gpu()), y},
                     keys.shape()[0], gpu());
    return values_of(y);
  }
};

/// Chunks of 64 keys: less than one, one, one and a part, several; every number of lanes per key, and several vectors per lane.
TEST_F(CudaCachedAttention, IsThatOfTheProcessor) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    expect_like_cpu_for({{0}, {1}, 1, 1, 1, 1, dtype});
    for (const int64_t head_dim : {2, 8, 24, 40, 64, 128})
      expect_like_cpu_for({{1, 0, 1}, {64, 31, 65}, 2, 65, 2, head_dim, dtype});
    expect_like_cpu_for({{0, 2, 0, 1}, {200, 129, 3, 63}, 3, 200, 3, 16, dtype});
    expect_like_cpu_for({{1}, {66}, 2, 70, 1, 132, dtype});
    expect_like_cpu_for({{0}, {5}, 1, 6, 2, 256, dtype});
  }
}

/// Bits of a row do not depend on other rows, the capacity, where the sequence lies, or alignment, which expect_like_cpu_for
/// does not compare.
TEST_F(CudaCachedAttention, BitsDependOnTheVisibleKeysAlone) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor q = uniform("q", {2, 2, 32}, dtype), keys = uniform("keys", {300, 2, 32}, dtype),
                 values = uniform("values", {300, 2, 32}, dtype);
    const auto attend_from = [&](const Tensor& query, const Tensor& k, const Tensor& v,
                                 const std::vector<int32_t>& sequence, const std::vector<int32_t>& visible,
                                 int64_t capacity, int64_t offset) {
      const auto there = [&](const Tensor& tensor) { return copy_to(tensor, gpu(), offset); };
      const Tensor y = room(query.shape(), dtype, gpu(), offset);
      cached_attention(
          {there(query), there(k), there(v), there(numbers(sequence)), there(numbers(visible)), y}, capacity,
          gpu());
      return y;
    };
    const Tensor both = attend_from(q, keys, values, {0, 1}, {150, 100}, 150, 0);
    EXPECT_TRUE(same_bits(attend_from(q, keys, values, {0, 1}, {150, 100}, 150, 1), both));
    const auto second = [](const Tensor& tensor) { return rows_of(tensor, 150, 300); };
    const Tensor alone = attend_from(rows_of(q, 1, 2), second(keys), second(values), {0}, {100}, 150, 0);
    EXPECT_TRUE(same_bits(alone, rows_of(both, 1, 2)));
    const Tensor wide = attend_from(rows_of(q, 0, 1), keys, values, {0}, {150}, 300, 0);
    EXPECT_TRUE(same_bits(wide, rows_of(both, 0, 1)));
  }
}

TEST_F(CudaCachedAttention, ReadsVisibleKeysAloneAndShowsNaN) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  const Tensor keys = uniform("keys", {80, 2, 8}), values = uniform("values", {80, 2, 8});
  for (int64_t i = 0; i < 8; ++i) keys.data<float>()[70 * 16 + i] = values.data<float>()[70 * 16 + i] = kNaN;
  for (const double y : attend(keys, values, 70)) EXPECT_TRUE(std::isfinite(y));
  const std::vector<double> spoilt = attend(keys, values, 71);
  EXPECT_TRUE(std::isnan(spoilt[0]));
  EXPECT_TRUE(std::isfinite(spoilt[8])) << "another head";
}

/// A first chunk whose scores are all minus infinity adds nothing to what follows.
TEST_F(CudaCachedAttention, PassesOverKeysWithoutWeight) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Tensor keys = uniform("keys", {66, 1, 8}), values = uniform("values", {66, 1, 8});
  std::fill_n(keys.data<float>(), 64 * 8, -kInfinity);
  const std::vector<double> y = attend(keys, values, 65);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], values.data<float>()[64 * 8 + i]);
}

/// What the device finds wrong stops it for good, so that a process of its own tries it.
TEST_F(CudaCachedAttention, ANumberOutOfRangeStopsTheDevice) {
  const auto run = [&](int32_t sequence, int32_t visible) {
    try {
      const Tensor cache = Tensor::zeros({6, 1, 8}, DType::f32, gpu()),
                   q = Tensor::zeros({1, 1, 8}, DType::f32, gpu());
      const Tensor y = Tensor::like(q);
      cached_attention({q, cache, cache, Tensor::from(std::vector{sequence}, {1}, gpu()),
                        Tensor::from(std::vector{visible}, {1}, gpu()), y},
                       3, gpu());
      y.to(cpu());
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(1);
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(run(1, 3), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(run(2, 3), testing::ExitedWithCode(1), "launch failure");
  EXPECT_EXIT(run(-1, 3), testing::ExitedWithCode(1), "launch failure");
  EXPECT_EXIT(run(1, 4), testing::ExitedWithCode(1), "launch failure");
  EXPECT_EXIT(run(1, 0), testing::ExitedWithCode(1), "launch failure");
}

}  // namespace
}  // namespace tessera::kernels
