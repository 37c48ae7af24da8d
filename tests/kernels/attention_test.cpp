#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/kernels/tensors.h"
#include "tests/support/close.h"

namespace tessera::kernels {
namespace {

using Segments = std::vector<int64_t>;

struct Problem {
  Segments segments;
  int64_t heads, head_dim;
  DType dtype;

  int64_t rows() const { return segments.back(); }
  Shape shape() const { return {rows(), heads, head_dim}; }
  AttentionOptions options() const { return {segments, 1 / std::sqrt(static_cast<float>(head_dim))}; }
};

struct Inputs {
  Tensor q, k, v, dy;
};

Inputs draw(const Problem& problem, Stream stream) {
  return {uniform_tensor("q", problem.shape(), problem.dtype, stream, 2),
          uniform_tensor("k", problem.shape(), problem.dtype, stream, 2),
          uniform_tensor("v", problem.shape(), problem.dtype, stream),
          uniform_tensor("dy", problem.shape(), problem.dtype, stream)};
}

/// y, log_sum, dq, dk, dv
std::vector<Tensor> attend(const Problem& problem, const Inputs& in, Stream stream) {
  Outputs out(stream);
  const Tensor y = out.make(problem.shape(), problem.dtype);
  const Tensor log_sum = out.make({problem.heads, problem.rows()}, DType::f32);
  const Tensor dq = out.make(problem.shape(), problem.dtype), dk = out.make(problem.shape(), problem.dtype);
  const Tensor dv = out.make(problem.shape(), problem.dtype);
  attention_forward(in.q, in.k, in.v, y, log_sum, problem.options(), stream);
  attention_backward({in.q, in.k, in.v, y, log_sum, in.dy, dq, dk, dv}, problem.options(), stream);
  out.expect_intact("attention");
  return out.all();
}

/// The formulas of the header, one after the other, in double.
struct Reference {
  Values y, log_sum, dq, dk, dv;

  Reference(const Problem& problem, const Inputs& in)
      : y(in.q.count()),
        log_sum(problem.heads * problem.rows()),
        dq(y.size()),
        dk(y.size()),
        dv(y.size()),
        q(values_of(in.q)),
        k(values_of(in.k)),
        v(values_of(in.v)),
        dy(values_of(in.dy)),
        dim(problem.head_dim),
        stride(problem.heads * problem.head_dim),
        scale(problem.options().scale) {
    for (size_t s = 0; s + 1 < problem.segments.size(); ++s)
      for (int64_t head = 0; head < problem.heads; ++head)
        for (int64_t i = problem.segments[s]; i < problem.segments[s + 1]; ++i)
          log_sum[head * problem.rows() + i] = row(problem.segments[s], i, head * dim);
  }

 private:
  Values q, k, v, dy;
  int64_t dim, stride;
  double scale;

  double dot(const Values& a, int64_t i, const Values& b, int64_t j, int64_t offset) const {
    double sum = 0;
    for (int64_t c = 0; c < dim; ++c) sum += a[i * stride + offset + c] * b[j * stride + offset + c];
    return sum;
  }
  void add(Values& to, int64_t i, double factor, const Values& from, int64_t j, int64_t offset) const {
    for (int64_t c = 0; c < dim; ++c) to[i * stride + offset + c] += factor * from[j * stride + offset + c];
  }
  double row(int64_t begin, int64_t i, int64_t offset) {
    Values p(i + 1);
    double total = 0;
    for (int64_t j = begin; j <= i; ++j) total += p[j] = std::exp(scale * dot(q, i, k, j, offset));
    for (int64_t j = begin; j <= i; ++j) add(y, i, p[j] /= total, v, j, offset);
    const double delta = dot(dy, i, y, i, offset);
    for (int64_t j = begin; j <= i; ++j) {
      const double ds = p[j] * (dot(dy, i, v, j, offset) - delta);
      add(dq, i, scale * ds, k, j, offset);
      add(dk, j, scale * ds, q, i, offset);
      add(dv, j, p[j], dy, i, offset);
    }
    return std::log(total);
  }
};

int64_t longest(const Segments& segments) {
  int64_t length = 0;
  for (size_t i = 0; i + 1 < segments.size(); ++i) length = std::max(length, segments[i + 1] - segments[i]);
  return length;
}

void expect_reference(const Problem& problem, Stream stream) {
  SCOPED_TRACE(str("heads ", problem.heads, ", head_dim ", problem.head_dim, ", rows ", problem.rows(), ", ",
                   problem.dtype, ", ", name_of(engine_of(stream).isa)));
  const Inputs in = draw(problem, stream);
  const std::vector<Tensor> out = attend(problem, in, stream);
  const Reference expected(problem, in);
  // Scores are sums over head_dim, weights over the segment; a gradient passes both, and through y a second rounding.
  const int64_t length = longest(problem.segments), terms = 3 * problem.head_dim + 3 * length + 16;
  const DType dtype = problem.dtype;
  EXPECT_TRUE(close({"y", values_of(out[0]), expected.y, dtype, {terms}}));
  EXPECT_TRUE(close({"log_sum", values_of(out[1]), expected.log_sum, DType::f32, {terms}}));
  EXPECT_TRUE(close({"dq", values_of(out[2]), expected.dq, dtype, {.terms = terms, .bf16_stores = 2}}));
  EXPECT_TRUE(close({"dk", values_of(out[3]), expected.dk, dtype, {.terms = terms, .bf16_stores = 2}}));
  EXPECT_TRUE(close({"dv", values_of(out[4]), expected.dv, dtype, {terms}}));
}

TEST(Attention, IsTheFormula) {
  const std::vector<Segments> cases = {{0, 1}, {0, 1, 3, 34, 67, 131}, {0, 0, 200, 200}, {0, 447}};
  for (const Isa isa : all_levels()) {
    CpuEngine engine(1, isa);
    for (const Segments& segments : cases)
      for (const int64_t head_dim : {16, 32, 64})
        for (const DType dtype : {DType::f32, DType::bf16})
          expect_reference({segments, 2, head_dim, dtype}, engine.stream());
  }
}

TEST(Attention, TakesAnyHeadDim) {
  for (const Isa isa : all_levels()) {
    CpuEngine engine(1, isa);
    for (const int64_t head_dim : {1, 6, 24, 40, 72, 100, 128, 144})
      for (const DType dtype : {DType::f32, DType::bf16})
        expect_reference({{0, 5, 70}, 3, head_dim, dtype}, engine.stream());
  }
}

TEST(AttentionFull, IsTheFormulaForThousandsOfRows) {
  CpuEngine engine(2);
  for (const DType dtype : {DType::f32, DType::bf16})
    expect_reference({{0, 2500, 2531}, 2, 64, dtype}, engine.stream());
}

TEST(Attention, BitsDoNotDependOnThreadsAndLevel) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const int64_t head_dim : {20, 64}) {
      const Problem problem{{0, 1, 3, 34, 67, 500}, 3, head_dim, dtype};
      CpuEngine plain(1, Isa::avx2);
      const std::vector<Tensor> expected = attend(problem, draw(problem, plain.stream()), plain.stream());
      for (const Isa isa : vector_levels())
        for (const int threads : {1, 2, 3}) {
          CpuEngine engine(threads, isa);
          const std::vector<Tensor> actual = attend(problem, draw(problem, engine.stream()), engine.stream());
          for (size_t i = 0; i < expected.size(); ++i)
            EXPECT_TRUE(same_bits(actual[i], expected[i]))
                << "output " << i << ", " << threads << " threads, " << name_of(isa);
        }
    }
}

TEST(Attention, BitsOfProductsOfBf16DoNotDependOnThreads) {
  for (const Isa isa : bf16_levels()) {
    const Problem problem{{0, 1, 3, 34, 67, 1100}, 3, 40, DType::bf16};
    CpuEngine one(1, isa), three(3, isa);
    const std::vector<Tensor> expected = attend(problem, draw(problem, one.stream()), one.stream());
    const std::vector<Tensor> actual = attend(problem, draw(problem, three.stream()), three.stream());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_TRUE(same_bits(actual[i], expected[i])) << "output " << i << ", " << name_of(isa);
  }
}

/// f32 by vectors, bf16 by every way that there is.
std::vector<std::pair<Isa, DType>> levels_and_dtypes() {
  std::vector<std::pair<Isa, DType>> all;
  for (const Isa isa : all_levels()) {
    if (isa <= Isa::avx512) all.emplace_back(isa, DType::f32);
    all.emplace_back(isa, DType::bf16);
  }
  return all;
}

/// A segment alone gives what it gives among others.
TEST(Attention, BitsDoNotDependOnOtherSegments) {
  const Segments segments = {0, 1, 3, 34, 67, 131, 400};
  for (const auto& [isa, dtype] : levels_and_dtypes()) {
    CpuEngine engine(2, isa);
    const Problem together{segments, 2, 32, dtype};
    const Inputs in = draw(together, engine.stream());
    const std::vector<Tensor> all = attend(together, in, engine.stream());
    for (size_t s = 0; s + 1 < segments.size(); ++s) {
      const int64_t begin = segments[s], end = segments[s + 1];
      const Problem alone{{0, end - begin}, 2, 32, dtype};
      const auto part = [&](const Tensor& tensor) { return rows_of(tensor, begin, end); };
      const std::vector<Tensor> one =
          attend(alone, {part(in.q), part(in.k), part(in.v), part(in.dy)}, engine.stream());
      for (const size_t i : {0, 2, 3, 4}) EXPECT_TRUE(same_bits(one[i], part(all[i]))) << "output " << i;
      for (int64_t head = 0; head < 2; ++head)
        EXPECT_TRUE(same_bits(one[1].slice(head * (end - begin), {end - begin}),
                              all[1].slice(head * together.rows() + begin, {end - begin})));
    }
  }
}

/// Later rows of a segment change neither y nor log_sum of earlier ones.
TEST(Attention, LooksBackOnly) {
  for (const auto& [isa, dtype] : levels_and_dtypes()) {
    CpuEngine engine(1, isa);
    const Problem whole{{0, 300}, 1, 16, dtype};
    const Inputs in = draw(whole, engine.stream());
    const std::vector<Tensor> all = attend(whole, in, engine.stream());
    for (const int64_t rows : {1, 63, 64, 65, 193, 299}) {
      const auto part = [&](const Tensor& tensor) { return rows_of(tensor, 0, rows); };
      const std::vector<Tensor> some = attend(
          {{0, rows}, 1, 16, dtype}, {part(in.q), part(in.k), part(in.v), part(in.dy)}, engine.stream());
      EXPECT_TRUE(same_bits(some[0], part(all[0]))) << rows << ", " << name_of(isa) << " " << dtype;
      EXPECT_TRUE(same_bits(some[1].reshape({rows}), all[1].slice(0, {rows})))
          << rows << ", " << name_of(isa);
    }
  }
}

/// A row that sees one key has weight 1 whatever its score: y is v, and the gradients of q and k are zero.
TEST(Attention, OneKeyHasNoSlope) {
  for (const auto& [isa, dtype] : levels_and_dtypes()) {
    CpuEngine engine(1, isa);
    const Problem problem{{0, 1, 2, 3, 4, 5}, 2, 40, dtype};
    const Inputs in = draw(problem, engine.stream());
    const std::vector<Tensor> out = attend(problem, in, engine.stream());
    EXPECT_TRUE(same_bits(out[0], in.v)) << name_of(isa) << " " << dtype;
    for (const size_t i : {2, 3})
      for (const double value : values_of(out[i])) ASSERT_EQ(value, 0) << name_of(isa) << " " << dtype;
  }
}

TEST(Attention, StandsLargeScores) {
  CpuEngine engine(1);
  const Problem problem{{0, 130}, 1, 16, DType::f32};
  Inputs in = draw(problem, engine.stream());
  for (float& value : in.q.values<float>()) value *= 400;
  const std::vector<Tensor> out = attend(problem, in, engine.stream());
  for (const Tensor& tensor : out)
    for (const double value : values_of(tensor)) ASSERT_TRUE(std::isfinite(value));
}

TEST(Attention, NothingForNoRows) {
  CpuEngine engine(2);
  attend({{0}, 2, 16, DType::f32}, draw({{0}, 2, 16, DType::f32}, engine.stream()), engine.stream());
}

}  // namespace
}  // namespace tessera::kernels
