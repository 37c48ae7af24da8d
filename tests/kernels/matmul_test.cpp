#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/pointwise.h"
#include "runtime/cpu_engine.h"
#include "tests/kernels/tensors.h"
#include "tests/support/close.h"

namespace tessera::kernels {
namespace {

constexpr DType kFloats[] = {DType::f32, DType::bf16};

/// One problem: operands and room for the three results.
struct Problem {
  std::vector<int64_t> offsets;
  Tensor x, weight, dy, y, dx, dweight;

  Problem(std::vector<int64_t> row_offsets, int64_t in, int64_t out, DType rows_dtype, DType weight_dtype,
          DType out_dtype, Stream stream)
      : offsets(std::move(row_offsets)) {
    const int64_t rows = offsets.back(), groups = static_cast<int64_t>(offsets.size()) - 1;
    x = uniform_tensor("x", {rows, in}, rows_dtype, stream);
    dy = uniform_tensor("dy", {rows, out}, rows_dtype, stream);
    weight = uniform_tensor("weight", {groups, out, in}, weight_dtype, stream);
    y = Tensor::empty({rows, out}, out_dtype, stream);
    dx = Tensor::empty({rows, in}, out_dtype, stream);
    dweight = Tensor::empty({groups, out, in}, DType::f32, stream);
  }

  void run() const {
    const Stream stream = x.stream();
    matmul_forward(x, weight, y, offsets, stream);
    matmul_backward_input(dy, weight, dx, offsets, stream);
    matmul_backward_weight(dy, x, dweight, offsets, {}, stream);
  }
};

/// Calls check(name, result element, left factors, right factors) for every element of the three results.
template <class Check>
void for_each_element(const Problem& problem, const Check& check) {
  const Values x = values_of(problem.x), w = values_of(problem.weight), dy = values_of(problem.dy);
  const Values y = values_of(problem.y), dx = values_of(problem.dx), dweight = values_of(problem.dweight);
  const int64_t out = problem.weight.shape()[1], in = problem.weight.shape()[2];
  Values left, right;
  const auto at = [](const Values& values, int64_t index) { return values[static_cast<size_t>(index)]; };
  for (int64_t g = 0; g + 1 < static_cast<int64_t>(problem.offsets.size()); ++g) {
    const int64_t begin = problem.offsets[static_cast<size_t>(g)],
                  end = problem.offsets[static_cast<size_t>(g + 1)];
    const auto sum = [&](const char* name, double got, int64_t terms, const auto& term) {
      left.clear();
      right.clear();
      for (int64_t p = 0; p < terms; ++p) {
        const auto [a, b] = term(p);
        left.push_back(a);
        right.push_back(b);
      }
      check(name, got, left, right);
    };
    using Pair = std::pair<double, double>;
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t n = 0; n < out; ++n)
        sum("y", at(y, r * out + n), in,
            [&](int64_t k) { return Pair(at(x, r * in + k), at(w, (g * out + n) * in + k)); });
      for (int64_t k = 0; k < in; ++k)
        sum("dx", at(dx, r * in + k), out,
            [&](int64_t n) { return Pair(at(dy, r * out + n), at(w, (g * out + n) * in + k)); });
    }
    for (int64_t n = 0; n < out; ++n)
      for (int64_t k = 0; k < in; ++k)
        sum("dweight", at(dweight, (g * out + n) * in + k), end - begin,
            [&](int64_t r) { return Pair(at(dy, (begin + r) * out + n), at(x, (begin + r) * in + k)); });
  }
}

struct Sizes {
  std::vector<int64_t> offsets;
  int64_t in, out;
};
const std::vector<Sizes> kSizes = {
    {{0, 1}, 1, 1},         {{0, 31}, 33, 127},          {{0, 129}, 31, 33},
    {{0, 37}, 521, 67},     {{0, 3, 3, 20, 61}, 33, 31}, {{0, 0, 67, 67}, 127, 129},
    {{0, 64}, 1056, 32},  // as the unit and the vectors like them: rows in place, blocks of the summed dim
    {{0, 30}, 1024, 40},  // rows that are multiples of 4096 bytes apart, in f32
    {{0, 3, 23}, 150, 300},  // few rows, which several strips of B meet at a time, in two parts of the summed dim
    {{0, 0}, 5, 7},         {{0, 300}, 16, 8},           {{0, 5, 263, 263, 281}, 48, 40},
};

// Every addition of a chain rounds its partial sum by at most half an epsilon; over the chain these errors
// add like a random walk, with a standard deviation of epsilon / sqrt(12) * sqrt(sum of squared partial
// sums), of which seven are allowed.  Rounding the result to bf16 adds half a unit of its 8 bits.
double chain_tolerance(double squared_partial_sums) {
  return 7 / std::sqrt(12.0) * std::numeric_limits<float>::epsilon() * std::sqrt(squared_partial_sums);
}

int64_t wrong_elements(const Problem& problem) {
  int64_t wrong = 0;
  for_each_element(problem, [&](const std::string& name, double got, const auto& left, const auto& right) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < left.size(); ++i) {
      sum += left[i] * right[i];
      squares += sum * sum;
    }
    const bool rounded = name != "dweight" && problem.y.dtype() == DType::bf16;
    const double tolerance = chain_tolerance(squares) + (rounded ? std::abs(sum) * 0x1p-8 : 0);
    if (!(std::abs(got - sum) <= tolerance)) ++wrong;
  });
  return wrong;
}

TEST(Matmul, MatchesDoublePrecision) {
  CpuEngine engine(2, vector_levels().back());
  for (const Sizes& sizes : kSizes)
    for (DType rows_dtype : kFloats)
      for (DType weight_dtype : kFloats)
        for (DType out_dtype : kFloats) {
          const Problem problem(sizes.offsets, sizes.in, sizes.out, rows_dtype, weight_dtype, out_dtype,
                                engine.stream());
          problem.run();
          EXPECT_EQ(wrong_elements(problem), 0)
              << "rows to " << sizes.offsets.back() << ", in " << sizes.in << ", out " << sizes.out << ": "
              << rows_dtype << " " << weight_dtype << " -> " << out_dtype;
        }
}

/// Every element of every product has the bits of sum_of(left factors, right factors), rounded once to the dtype of the result.
template <class SumOf>
void expect_sums(Isa isa, const SumOf& sum_of) {
  for (int threads : {1, 2}) {
    CpuEngine engine(threads, isa);
    for (const Sizes& sizes : kSizes)
      for (DType dtype : kFloats) {
        // Rows of bf16 where pairs of bf16 are multiplied, else of the dtype of the result.
        const DType rows_dtype = isa >= Isa::avx512_bf16 ? DType::bf16 : dtype;
        const Problem problem(sizes.offsets, sizes.in, sizes.out, rows_dtype, DType::bf16, dtype,
                              engine.stream());
        problem.run();
        int64_t wrong = 0;
        for_each_element(problem,
                         [&](const std::string& name, double got, const auto& left, const auto& right) {
                           float sum = sum_of(left, right);
                           if (name != "dweight" && dtype == DType::bf16) sum = float(bf16(sum));
                           if (got != sum) ++wrong;
                         });
        EXPECT_EQ(wrong, 0) << name_of(isa) << ", threads " << threads << ", rows to " << sizes.offsets.back()
                            << ", in " << sizes.in << ", out " << sizes.out << " " << dtype;
      }
  }
}

TEST(Matmul, EveryElementIsOneChainOfMultiplyAdds) {
  for (Isa isa : vector_levels())
    expect_sums(isa, [](const auto& left, const auto& right) {
      float sum = 0;
      for (size_t i = 0; i < left.size(); ++i) sum = std::fma(float(left[i]), float(right[i]), sum);
      return sum;
    });
}

// The bits of a row must not depend on how many rows come with it; 300 deep so that sums continue over
// blocks.
TEST(Matmul, RowsDoNotDependOnTheirNumber) {
  constexpr int64_t kRows = 257, kIn = 300, kOut = 45;
  for (Isa isa : all_levels())
    for (int threads : {1, 2})
      for (DType dtype : kFloats) {
        CpuEngine engine(threads, isa);
        const Stream stream = engine.stream();
        const Problem whole({0, kRows}, kIn, kOut, dtype, dtype, dtype, stream);
        whole.run();
        for (int64_t rows = 1; rows <= kRows; ++rows) {
          const std::vector<int64_t> offsets = {0, rows};
          const int64_t begin = kRows - rows;  // other neighbours and another alignment as well
          const Tensor y = Tensor::empty({rows, kOut}, dtype, stream),
                       dx = Tensor::empty({rows, kIn}, dtype, stream);
          matmul_forward(whole.x.slice(begin * kIn, {rows, kIn}), whole.weight, y, offsets, stream);
          matmul_backward_input(whole.dy.slice(begin * kOut, {rows, kOut}), whole.weight, dx, offsets,
                                stream);
          ASSERT_TRUE(same_bits(y, whole.y.slice(begin * kOut, {rows, kOut})))
              << rows << " rows, " << name_of(isa);
          ASSERT_TRUE(same_bits(dx, whole.dx.slice(begin * kIn, {rows, kIn})))
              << rows << " rows, " << name_of(isa);
        }
      }
}

TEST(Matmul, ThreadsAndLevelsGiveTheSameBits) {
  const std::vector<int64_t> offsets = {0, 250, 250, 260, 700};
  CpuEngine first(1, Isa::avx2);
  const Problem expected(offsets, 600, 500, DType::f32, DType::bf16, DType::f32, first.stream());
  expected.run();
  for (Isa isa : vector_levels())
    for (int threads : {1, 2, 3}) {
      CpuEngine engine(threads, isa);
      const Problem problem(offsets, 600, 500, DType::f32, DType::bf16, DType::f32, engine.stream());
      problem.run();
      EXPECT_TRUE(same_bits(problem.y, expected.y)) << name_of(isa) << ", threads " << threads;
      EXPECT_TRUE(same_bits(problem.dx, expected.dx)) << name_of(isa) << ", threads " << threads;
      EXPECT_TRUE(same_bits(problem.dweight, expected.dweight)) << name_of(isa) << ", threads " << threads;
    }
}

TEST(Matmul, GroupsAreSeparateProducts) {
  for (Isa isa : all_levels()) {
    CpuEngine engine(2, isa);
    const Stream stream = engine.stream();
    constexpr int64_t kIn = 70, kOut = 50;
    const Problem together({0, 0, 10, 110, 110, 113}, kIn, kOut, DType::bf16, DType::bf16, DType::f32,
                           stream);
    together.run();
    for (size_t g = 0; g < 5; ++g) {
      const int64_t begin = together.offsets[g], rows = together.offsets[g + 1] - begin;
      const std::vector<int64_t> offsets = {0, rows};
      const Tensor weight = together.weight.slice(int64_t(g) * kOut * kIn, {kOut, kIn});
      const Tensor x = together.x.slice(begin * kIn, {rows, kIn}),
                   dy = together.dy.slice(begin * kOut, {rows, kOut});
      const Tensor y = Tensor::empty({rows, kOut}, DType::f32, stream),
                   dx = Tensor::empty({rows, kIn}, DType::f32, stream);
      const Tensor dweight = Tensor::empty({kOut, kIn}, DType::f32, stream);
      matmul_forward(x, weight, y, offsets, stream);
      matmul_backward_input(dy, weight, dx, offsets, stream);
      matmul_backward_weight(dy, x, dweight, offsets, {}, stream);
      EXPECT_TRUE(same_bits(y, together.y.slice(begin * kOut, {rows, kOut}))) << "group " << g;
      EXPECT_TRUE(same_bits(dx, together.dx.slice(begin * kIn, {rows, kIn}))) << "group " << g;
      EXPECT_TRUE(same_bits(dweight, together.dweight.slice(int64_t(g) * kOut * kIn, {kOut, kIn})))
          << "group " << g;
      if (rows > 0) continue;
      for (float value : dweight.values<float>()) ASSERT_EQ(std::bit_cast<uint32_t>(value), 0u);
    }
  }
}

TEST(Matmul, AddsAFinishedGradientToSums) {
  // More rows than a block of the summed dim has, a group without rows, ragged edges.
  const std::vector<int64_t> offsets = {0, 600, 600, 633};
  for (const Isa isa : all_levels())
    for (const DType dtype : kFloats)
      for (const int threads : {1, 2}) {
        SCOPED_TRACE(str(name_of(isa), " ", dtype, ", threads ", threads));
        CpuEngine engine(threads, isa);
        const Stream stream = engine.stream();
        const Problem problem(offsets, 70, 530, dtype, dtype, DType::f32, stream);
        problem.run();
        std::vector<Tensor> sums;
        Tensor expected = problem.dweight;
        for (const char* name : {"nearest", "next", "last"}) {
          sums.push_back(uniform_tensor(name, problem.dweight.shape(), DType::f32, stream));
          for (float& value : sums.back().values<float>().first(90)) value = -0.0f;
          const Tensor sum = Tensor::like(expected);
          add(sums.back(), expected, sum, stream);
          expected = sum;
          const Tensor apart = Tensor::like(expected);
          matmul_backward_weight(problem.dy, problem.x, apart, offsets, sums, stream);
          EXPECT_TRUE(same_bits(apart, expected)) << sums.size() << " sums";
        }
        matmul_backward_weight(problem.dy, problem.x, sums.back(), offsets, sums, stream);
        EXPECT_TRUE(same_bits(sums.back(), expected)) << "in the memory of the last";
      }
}

TEST(Matmul, WritesInsideItsOutputsOnly) {
  constexpr int64_t kRows = 19, kIn = 21, kOut = 37;
  for (Isa isa : all_levels())
    for (DType dtype : kFloats) {
      CpuEngine engine(1, isa);
      Outputs outputs(engine.stream());
      Problem problem({0, kRows}, kIn, kOut, dtype, dtype, dtype, engine.stream());
      for (Tensor* output : {&problem.y, &problem.dx, &problem.dweight})
        *output = outputs.make(output->shape(), output->dtype());
      problem.run();
      outputs.expect_intact(name_of(isa));
    }
}

Tensor rounded(const Tensor& tensor) {
  const Tensor result = Tensor::empty(tensor.shape(), DType::bf16, tensor.stream());
  const Values values = values_of(tensor);
  for (size_t i = 0; i < values.size(); ++i) result.values<bf16>()[i] = bf16(float(values[i]));
  return result;
}

class Bf16Matmul : public testing::Test {
 protected:
  void SetUp() override {
    if (bf16_levels().empty()) GTEST_SKIP() << "the processor has no AVX512_BF16";
  }
};

TEST_F(Bf16Matmul, MatchesDoublePrecision) {
  for (Isa isa : bf16_levels()) {
    CpuEngine engine(2, isa);
    for (const Sizes& sizes : kSizes)
      for (DType out_dtype : kFloats) {
        const Problem problem(sizes.offsets, sizes.in, sizes.out, DType::bf16, DType::bf16, out_dtype,
                              engine.stream());
        problem.run();
        EXPECT_EQ(wrong_elements(problem), 0)
            << name_of(isa) << ", rows to " << sizes.offsets.back() << ", in " << sizes.in << ", out "
            << sizes.out << " -> " << out_dtype;
      }
  }
}

TEST_F(Bf16Matmul, EveryElementIsOneChainOfPairs) {
  expect_sums(Isa::avx512_bf16, [](const auto& left, const auto& right) {
    float sum = 0;
    const auto add = [&](size_t i) {
      if (i < left.size()) sum = std::fma(float(left[i]), float(right[i]), sum);
    };
    for (size_t i = 0; i < left.size(); i += 2) add(i + 1), add(i);
    return sum;
  });
}

// Steps of 32 terms; in each, the sum of the first ones of all pairs and that of the second ones, chains of their own.
TEST_F(Bf16Matmul, EveryElementIsOneChainOfStepsOfAMatrixUnit) {
  expect_sums(Isa::amx, [](const auto& left, const auto& right) {
    float sum = 0;
    for (size_t step = 0; step < left.size(); step += 32) {
      float chain[2] = {};
      for (size_t i = step; i < std::min(step + 32, left.size()); ++i)
        chain[i % 2] = std::fma(float(left[i]), float(right[i]), chain[i % 2]);
      sum += chain[0] + chain[1];
    }
    return sum;
  });
}

// 700 rows and 1100 columns: several chunks, blocks and panels of each product.
TEST_F(Bf16Matmul, RoundsTheOtherOperandAndIgnoresThreads) {
  const std::vector<int64_t> offsets = {0, 250, 250, 260, 700};
  for (Isa isa : bf16_levels()) {
    CpuEngine first(1, isa);
    Problem expected(offsets, 90, 1100, DType::f32, DType::bf16, DType::f32, first.stream());
    expected.dy = rounded(expected.dy);
    expected.x = rounded(expected.x);
    expected.run();
    for (int threads : {1, 2, 3}) {
      SCOPED_TRACE(str(name_of(isa), ", threads ", threads));
      CpuEngine engine(threads, isa);
      Problem problem(offsets, 90, 1100, DType::f32, DType::bf16, DType::f32, engine.stream());
      matmul_forward(problem.x, problem.weight, problem.y, offsets, engine.stream());
      matmul_backward_input(problem.dy, problem.weight, problem.dx, offsets, engine.stream());
      matmul_backward_weight(problem.dy, rounded(problem.x), problem.dweight, offsets, {}, engine.stream());
      EXPECT_TRUE(same_bits(problem.y, expected.y));
      EXPECT_TRUE(same_bits(problem.dx, expected.dx));
      EXPECT_TRUE(same_bits(problem.dweight, expected.dweight));
    }
  }
}

// The gradient of the weight sums over rows, so its bits depend on them; they may not depend on the other columns.
TEST_F(Bf16Matmul, WeightGradientsDoNotDependOnTheirNumber) {
  constexpr int64_t kRows = 300, kIn = 40, kOut = 130;
  for (Isa isa : bf16_levels()) {
    CpuEngine engine(2, isa);
    const Problem whole({0, kRows}, kIn, kOut, DType::bf16, DType::bf16, DType::f32, engine.stream());
    whole.run();
    for (int64_t out : {1, 63, 64, 65, 129}) {
      const Tensor dy = Tensor::empty({kRows, out}, DType::bf16, engine.stream());
      for (int64_t r = 0; r < kRows; ++r)
        for (int64_t n = 0; n < out; ++n) dy.data<bf16>()[r * out + n] = whole.dy.data<bf16>()[r * kOut + n];
      const Tensor dweight = Tensor::empty({out, kIn}, DType::f32, engine.stream());
      matmul_backward_weight(dy, whole.x, dweight, whole.offsets, {}, engine.stream());
      EXPECT_TRUE(same_bits(dweight, whole.dweight.slice(0, {out, kIn})))
          << name_of(isa) << ", " << out << " columns";
    }
  }
}

TEST(Matmul, TakesNoMemoryFromTheSystemAgain) {
  CpuEngine engine(2);
  const Problem problem({0, 40, 200}, 300, 70, DType::f32, DType::bf16, DType::bf16, engine.stream());
  problem.run();
  const int64_t before = engine.memory.statistics().growths;
  problem.run();
  EXPECT_EQ(engine.memory.statistics().growths, before);
}

TEST(Matmul, ChecksOnMetaAndComputesNothing) {
  const Stream stream = Stream::meta();
  const auto meta = [&](Shape shape) { return Tensor::empty(shape, DType::f32, stream); };
  const std::vector<int64_t> offsets = {0, 6, 9};
  const Tensor x = meta({9, 4}), y = meta({9, 5}), weight = meta({2, 5, 4});
  EXPECT_NO_THROW(matmul_forward(x, weight, y, offsets, stream));
  EXPECT_NO_THROW(matmul_backward_input(y, weight, x, offsets, stream));
  EXPECT_NO_THROW(matmul_backward_weight(y, x, weight, offsets, {}, stream));
  EXPECT_THROW(matmul_forward(y, weight, x, offsets, stream), Error);
}

/// Expects an Error whose message starts with who.
template <class Call>
void expect_refused(const std::string& who, const Call& call) {
  try {
    call();
    ADD_FAILURE() << who << " accepted what it must refuse";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).substr(0, who.size() + 1), who + ":");
  }
}

TEST(Matmul, RefusesWhatDoesNotFit) {
  CpuEngine engine;
  const Stream stream = engine.stream();
  const auto tensor = [&](Shape shape, DType dtype = DType::f32) {
    return Tensor::zeros(shape, dtype, stream);
  };
  const std::vector<int64_t> good = {0, 2, 6};
  const Tensor rows_in = tensor({6, 4}), rows_out = tensor({6, 5}), weight = tensor({2, 5, 4});
  const auto all = [&](const Tensor& x, const Tensor& w, const Tensor& y, RowOffsets offsets) {
    expect_refused("matmul_forward", [&] { matmul_forward(x, w, y, offsets, stream); });
    expect_refused("matmul_backward_input", [&] { matmul_backward_input(y, w, x, offsets, stream); });
    expect_refused("matmul_backward_weight", [&] { matmul_backward_weight(y, x, w, offsets, {}, stream); });
  };
  all(tensor({6, 3}), weight, rows_out, good);
  all(tensor({5, 4}), weight, rows_out, good);
  all(rows_in, weight, tensor({6, 4}), good);
  all(rows_in, weight, tensor({7, 5}), good);
  all(rows_in, tensor({2, 4, 5}), rows_out, good);
  all(rows_in, tensor({3, 5, 4}), rows_out, good);
  all(rows_in, tensor({5, 4}), rows_out, good);
  all(rows_in, tensor({20}), rows_out, good);
  all(tensor({6, 4}, DType::i32), weight, rows_out, good);
  all(rows_in, tensor({2, 5, 4}, DType::u8), rows_out, good);
  all(rows_in, weight, tensor({6, 5}, DType::i32), good);
  for (const std::vector<int64_t>& bad :
       std::vector<std::vector<int64_t>>{{}, {0, 6}, {1, 2, 6}, {0, 2, 5}, {0, 7, 6}})
    all(rows_in, weight, rows_out, bad);
  expect_refused("matmul_backward_weight", [&] {
    matmul_backward_weight(rows_out, rows_in, tensor({2, 5, 4}, DType::bf16), good, {}, stream);
  });
  EXPECT_NO_THROW(matmul_forward(rows_in, weight, rows_out, good, stream));
}

}  // namespace
}  // namespace tessera::kernels
