#include "kernels/cached_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention.h"
#include "tests/kernels/tensors.h"
#include "tests/support/close.h"

namespace tessera::kernels {
namespace {

using Numbers = std::vector<int32_t>;

constexpr int64_t kSequences = 3, kCapacity = 150, kHeads = 2, kHeadDim = 40;

struct Cache {
  Tensor keys, values;
};

Cache draw_cache(DType dtype, Stream stream) {
  const Shape shape{kSequences * kCapacity, kHeads, kHeadDim};
  return {uniform_tensor("keys", shape, dtype, stream, 2), uniform_tensor("values", shape, dtype, stream)};
}

/// For a query of uniform_tensor "q" in every row.
Tensor attend(const Cache& cache, const Numbers& sequence, const Numbers& visible, Stream stream,
              int64_t capacity = kCapacity) {
  const int64_t rows = std::ssize(sequence);
  const Tensor q = uniform_tensor("q", {rows, kHeads, kHeadDim}, cache.keys.dtype(), stream, 2);
  Outputs out(stream);
  const Tensor y = out.make(q.shape(), q.dtype());
  cached_attention({q, cache.keys, cache.values, Tensor::from(sequence, {rows}, stream),
                    Tensor::from(visible, {rows}, stream), y},
                   capacity, stream);
  out.expect_intact("cached_attention");
  return y;
}

/// Of a document that is decoded row by row with all its keys in a cache, against the same rows at once: the roundings of
/// both add up.
TEST(CachedAttention, IsAttentionRowByRow) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Isa isa : vector_levels()) {
      CpuEngine engine(2, isa);
      const Stream stream = engine.stream();
      const int64_t length = 140;
      const Cache cache = draw_cache(dtype, stream);
      Numbers sequence(length, 1), visible(length);
      for (int32_t row = 0; row < length; ++row) visible[row] = row + 1;
      const Tensor y = attend(cache, sequence, visible, stream);
      const Tensor q = uniform_tensor("q", y.shape(), dtype, stream, 2), expected = Tensor::like(y);
      const Tensor log_sum = Tensor::empty({kHeads, length}, DType::f32, stream);
      const std::vector<int64_t> segments{0, length};
      attention_forward(q, rows_of(cache.keys, kCapacity, kCapacity + length),
                        rows_of(cache.values, kCapacity, kCapacity + length), expected, log_sum,
                        {segments, 1 / std::sqrt(static_cast<float>(kHeadDim))}, stream);
      EXPECT_TRUE(close({"y", values_of(y), values_of(expected), dtype,
                         Roundings{.terms = 2 * (kHeadDim + 2 * length + 8), .bf16_stores = 2}}));
    }
}

TEST(CachedAttention, DoesNotReadWhatIsNotVisible) {
  CpuEngine engine(1);
  const Cache cache = draw_cache(DType::f32, engine.stream());
  const Tensor before = attend(cache, {0, 2, 2}, {1, 65, 149}, engine.stream());
  const auto spoil = [](const Tensor& rows) {
    for (float& value : rows.values<float>()) value = std::numeric_limits<float>::quiet_NaN();
  };
  for (const Tensor& tensor : {cache.keys, cache.values}) {
    spoil(rows_of(tensor, 1, 2 * kCapacity));
    spoil(rows_of(tensor, 2 * kCapacity + 149, 3 * kCapacity));
  }
  EXPECT_TRUE(same_bits(attend(cache, {0, 2, 2}, {1, 65, 149}, engine.stream()), before));
}

TEST(CachedAttention, ShowsNaN) {
  for (const Isa isa : vector_levels()) {
    CpuEngine engine(1, isa);
    const Cache cache = draw_cache(DType::f32, engine.stream());
    cache.keys.data<float>()[70 * kHeads * kHeadDim] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<double> y = values_of(attend(cache, {0, 0}, {70, 71}, engine.stream()));
    const size_t row = y.size() / 2;
    EXPECT_TRUE(std::isfinite(y[0]));
    EXPECT_TRUE(std::isnan(y[row]));
    EXPECT_TRUE(std::isfinite(y[row + kHeadDim])) << "another head";
  }
}

/// Scores of e^+-200 overflow without the maximum, and only the largest counts.
TEST(CachedAttention, StandsLargeScores) {
  CpuEngine engine(1);
  const Cache cache = draw_cache(DType::f32, engine.stream());
  for (float& key : cache.keys.values<float>()) key *= 300;
  for (const double y : values_of(attend(cache, {0, 1}, {150, 150}, engine.stream()))) {
    ASSERT_TRUE(std::isfinite(y));
    ASSERT_LE(std::abs(y), 1);
  }
}

TEST(CachedAttention, BitsDoNotDependOnThreadsLevelRowsOrCapacity) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    CpuEngine plain(1, Isa::avx2), engine(3, vector_levels().back());
    const Numbers sequence = {2, 0, 2, 1}, visible = {1, 64, 129, 150};
    const Tensor expected = attend(draw_cache(dtype, plain.stream()), sequence, visible, plain.stream());
    const Cache cache = draw_cache(dtype, engine.stream());
    EXPECT_TRUE(same_bits(attend(cache, sequence, visible, engine.stream()), expected));
    // Row 0 alone, and a sequence that is the whole cache.
    EXPECT_TRUE(same_bits(attend(cache, {2}, {1}, engine.stream()), rows_of(expected, 0, 1)));
    const Cache third{rows_of(cache.keys, 2 * kCapacity, 3 * kCapacity),
                      rows_of(cache.values, 2 * kCapacity, 3 * kCapacity)};
    EXPECT_TRUE(same_bits(attend(third, {0}, {1}, engine.stream()), rows_of(expected, 0, 1)));
    const Tensor wide = attend(cache, {0, 0}, {1, 64}, engine.stream(), kSequences * kCapacity);
    EXPECT_TRUE(same_bits(rows_of(wide, 1, 2), rows_of(expected, 1, 2)));
  }
}

}  // namespace
}  // namespace tessera::kernels
