#include "autograd/recompute.h"

#include <gtest/gtest.h>

#include <array>

#include "autograd/functions.h"
#include "autograd/parameter.h"
#include "runtime/cpu_engine.h"
#include "runtime/random.h"

namespace tessera {
namespace {

class RecomputeTest : public testing::Test {
 protected:
  RecomputeTest() {
    for (Parameter& weight : weights_) {
      weight.name = "weight";
      weight.value = drawn("weight", weight.shape);
    }
  }
  Tensor drawn(const char* purpose, Shape shape) {
    std::vector<float> values;
    for (int64_t i = 0; i < shape.count(); ++i)
      values.push_back(static_cast<float>(random_normal(1, Purpose(purpose), static_cast<uint64_t>(i))));
    return Tensor::from(values, shape, engine_.stream());
  }

  struct Result {
    std::vector<float> y, dx, dweights;
    int64_t flops = 0, saved = 0;
    friend bool operator==(const Result&, const Result&) = default;
  };
  /// x + segment(segment(x)), whose input x has three uses.
  Result run(bool again) {
    for (Parameter& weight : weights_) {
      weight.grad = Tensor::zeros(weight.shape, DType::f32, engine_.stream());
      weight.has_grad = weight.room_taken = false;
    }
    calls_ = 0;
    Result result;
    Tape tape;
    const Var x =
        tape.leaf(drawn("x", {64, 8}), [&](const Tensor& dx) { result.dx = dx.to_vector<float>(); });
    const auto segment = [this](Parameter& weight) {
      return [this, &weight](const Var& in) {
        ++calls_;
        return add(in, silu(matmul(silu(matmul(in, weight)), weight)));
      };
    };
    const int64_t before = engine_.memory.statistics().live_bytes;
    const Var y = add(x, segment_of(segment_of(x, again, segment(weights_[0])), again, segment(weights_[1])));
    result.saved = engine_.memory.statistics().live_bytes - before;
    result.y = y.value().to_vector<float>();
    tape.backward(y, drawn("dy", {64, 8}));
    for (const Parameter& weight : weights_)
      for (float value : weight.grad.to_vector<float>()) result.dweights.push_back(value);
    result.flops = tape.ledger().total().flops();
    return result;
  }

  CpuEngine engine_{1};
  std::array<Parameter, 2> weights_{Parameter({8, 8}), Parameter({8, 8})};
  int calls_ = 0;
};

TEST_F(RecomputeTest, GivesTheSameBitsAndCostsAndKeepsLess) {
  Result kept = run(false);
  EXPECT_EQ(calls_, 2);
  Result again = run(true);
  EXPECT_EQ(calls_, 4);
  EXPECT_LT(again.saved, kept.saved / 2);
  again.saved = kept.saved;
  EXPECT_EQ(again, kept);
  EXPECT_GT(kept.flops, 0);
}

TEST_F(RecomputeTest, WithoutATapeNothingRunsTwice) {
  int calls = 0;
  const Var y = segment_of(drawn("x", {4, 8}), true, [&](const Var& x) {
    ++calls;
    return silu(x);
  });
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(y.tracked());
}

TEST_F(RecomputeTest, SplitPartsJoinTheirGradients) {
  Tape tape;
  std::vector<float> gradient;
  const Var x = tape.leaf(drawn("x", {6, 2}), [&](const Tensor& dx) { gradient = dx.to_vector<float>(); });
  const std::vector<Var> parts = split(x, std::vector<int64_t>{0, 2, 2, 5, 6});
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[2].shape(), (Shape{3, 2}));
  EXPECT_EQ(parts[2].value().to_vector<float>()[0], x.value().to_vector<float>()[4]);
  // The second part has no rows, and nothing uses the last.
  const Var used[] = {parts[2], parts[0]};
  const std::vector<float> dy{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  tape.backward(concat(used), Tensor::from(dy, {10}, engine_.stream()));
  EXPECT_EQ(gradient, (std::vector<float>{7, 8, 9, 10, 1, 2, 3, 4, 5, 6, 0, 0}));
}

}  // namespace
}  // namespace tessera
