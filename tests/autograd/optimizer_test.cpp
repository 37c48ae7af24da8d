#include "autograd/optimizer.h"

#include <gtest/gtest.h>

#include "runtime/cpu_engine.h"
#include "runtime/random.h"
#include "tests/support/close.h"

namespace tessera {
namespace {

constexpr int64_t kSteps = 12;

float draw(const char* purpose, int64_t index) {
  return static_cast<float>(random_normal(1, Purpose(purpose), static_cast<uint64_t>(index)));
}

/// Algorithm 2 of Loshchilov and Hutter (2019) in double precision, one element.
struct ReferenceAdamW {
  double value, first = 0, second = 0;

  void step(const AdamWConfig& config, int64_t t, double rate, double gradient, bool decays) {
    const double beta1 = config.beta1, beta2 = config.beta2;
    first = beta1 * first + (1 - beta1) * gradient;
    second = beta2 * second + (1 - beta2) * gradient * gradient;
    const double unbiased_first = first / (1 - std::pow(beta1, static_cast<double>(t)));
    const double unbiased_second = second / (1 - std::pow(beta2, static_cast<double>(t)));
    const double decay = decays ? config.decay : 0;
    value -= rate * (unbiased_first / (std::sqrt(unbiased_second) + config.epsilon) + decay * value);
  }
};

void set_gradient(const Tensor& grad, int64_t step) {
  for (int64_t i = 0; i < grad.count(); ++i)
    grad.values<float>()[static_cast<size_t>(i)] = draw("gradient", step * grad.count() + i);
}

Optimized make_range(int64_t count, bool decays, Stream stream) {
  const Optimized range{Tensor::empty({count}, DType::f32, stream),
                        Tensor::zeros({count}, DType::f32, stream), decays};
  for (int64_t i = 0; i < count; ++i) range.value.values<float>()[static_cast<size_t>(i)] = draw("value", i);
  return range;
}

Values widened(const Tensor& tensor) {
  const std::span<const float> values = tensor.values<float>();
  return {values.begin(), values.end()};
}

// A step rounds about a dozen times on the way to each number.
TEST(Optimizer, AdamWMatchesDoublePrecision) {
  constexpr float kRate = 0.1f, kScale = 0.5f;
  CpuEngine engine(2);
  const std::vector<Optimized> ranges{make_range(1, true, engine.stream()),
                                      make_range(31, false, engine.stream()),
                                      make_range(1031, true, engine.stream())};
  const AdamWConfig config;
  std::vector<std::vector<ReferenceAdamW>> expected;
  for (const Optimized& range : ranges) {
    expected.emplace_back();
    for (double value : widened(range.value)) expected.back().push_back({value});
  }
  AdamW optimizer(ranges, config);
  for (int64_t step = 0; step < kSteps; ++step) {
    for (size_t r = 0; r < ranges.size(); ++r) {
      set_gradient(ranges[r].grad, step);
      const Values gradient = widened(ranges[r].grad);
      for (size_t i = 0; i < gradient.size(); ++i)
        expected[r][i].step(config, step + 1, kRate, kScale * gradient[i], ranges[r].decays);
    }
    optimizer.step(step, kRate, kScale);
  }
  for (size_t r = 0; r < ranges.size(); ++r) {
    Comparison value{"value", widened(ranges[r].value), {}, DType::f32, {.terms = 12 * kSteps}};
    Comparison first{"first", widened(optimizer.first(r)), {}, DType::f32, {.terms = 4 * kSteps}};
    Comparison second{"second", widened(optimizer.second(r)), {}, DType::f32, {.terms = 5 * kSteps}};
    for (const ReferenceAdamW& element : expected[r]) {
      value.expected.push_back(element.value);
      first.expected.push_back(element.first);
      second.expected.push_back(element.second);
    }
    for (Comparison& comparison : {std::ref(value), std::ref(first), std::ref(second)}) {
      EXPECT_TRUE(close(comparison)) << "range " << r;
      for (double& number : comparison.actual) number *= 1 + 10 * relative_tolerance(comparison);
      EXPECT_FALSE(close(comparison)) << comparison.what << ": an error of ten tolerances was not noticed";
    }
  }
}

TEST(Optimizer, VectorsAreNotDecayed) {
  CpuEngine engine;
  const std::vector<Optimized> ranges{make_range(5, true, engine.stream()),
                                      make_range(5, false, engine.stream())};
  const Values before = widened(ranges[0].value);
  AdamWConfig config;
  config.decay = 0.5f;
  AdamW(ranges, config).step(0, 0.5f, 1);  // the gradients are zero
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(ranges[0].value.values<float>()[i], static_cast<float>(0.75 * before[i]));
    EXPECT_EQ(ranges[1].value.values<float>()[i], static_cast<float>(before[i]));
  }
  EXPECT_TRUE(Parameter(Shape{2, 3}).decays());
  EXPECT_FALSE(Parameter(Shape{3}).decays());
}

// Moments and step number are all there is to continue from.
TEST(Optimizer, ContinuesWithTheSameBits) {
  CpuEngine engine;
  const Optimized whole = make_range(77, true, engine.stream()),
                  resumed = make_range(77, true, engine.stream());
  AdamW through({whole}, {}), before({resumed}, {}), after({resumed}, {});
  for (int64_t step = 0; step < kSteps; ++step) {
    set_gradient(whole.grad, step);
    set_gradient(resumed.grad, step);
    through.step(step, 0.01f, 1);
    (step < kSteps / 2 ? before : after).step(step, 0.01f, 1);
    if (step + 1 != kSteps / 2) continue;
    copy(before.first(0), after.first(0));
    copy(before.second(0), after.second(0));
  }
  EXPECT_EQ(widened(whole.value), widened(resumed.value));
  EXPECT_EQ(widened(through.second(0)), widened(after.second(0)));
}

ScheduleConfig schedule(const char* kind, int64_t warmup) {
  ScheduleConfig config;
  config.kind = kind;
  config.peak = 1;
  config.end = 0.25f;
  config.warmup = warmup;
  config.stable = 0.5;
  return config;
}

const char* const kKinds[] = {"constant", "linear", "cosine", "wsd"};

TEST(Schedule, WarmsUpInEqualStepsToThePeak) {
  for (const char* kind : kKinds) {
    EXPECT_EQ(learning_rate(schedule(kind, 4), 0, 100), 0.25f) << kind;
    EXPECT_EQ(learning_rate(schedule(kind, 4), 1, 100), 0.5f) << kind;
    EXPECT_EQ(learning_rate(schedule(kind, 4), 3, 100), 1.0f) << kind;
    EXPECT_EQ(learning_rate(schedule(kind, 4), 4, 100), 1.0f) << kind;
    EXPECT_EQ(learning_rate(schedule(kind, 0), 0, 100), 1.0f) << kind;
    EXPECT_EQ(learning_rate(schedule(kind, 1), 0, 100), 1.0f) << kind;
  }
}

TEST(Schedule, EndsAtTheEnd) {
  for (const char* kind : {"linear", "cosine", "wsd"})
    for (int64_t warmup : {0, 1, 7}) EXPECT_EQ(learning_rate(schedule(kind, warmup), 99, 100), 0.25f) << kind;
  EXPECT_EQ(learning_rate(schedule("constant", 7), 99, 100), 1.0f);
}

TEST(Schedule, HasItsShape) {
  // 0 .. 100 after a warm-up of none: a quarter, half and three quarters of the way.
  EXPECT_FLOAT_EQ(learning_rate(schedule("linear", 0), 25, 101), 0.8125f);
  EXPECT_FLOAT_EQ(learning_rate(schedule("linear", 0), 50, 101), 0.625f);
  EXPECT_FLOAT_EQ(learning_rate(schedule("linear", 0), 75, 101), 0.4375f);
  EXPECT_FLOAT_EQ(learning_rate(schedule("cosine", 0), 50, 101), 0.625f);
  EXPECT_FLOAT_EQ(learning_rate(schedule("cosine", 0), 25, 101),
                  static_cast<float>(0.25 + 0.75 * 0.5 * (1 + std::sqrt(0.5))));
  // The decay is what is left after half of 100 steps: from step 50 to 99.
  EXPECT_EQ(learning_rate(schedule("wsd", 10), 30, 100), 1.0f);
  EXPECT_EQ(learning_rate(schedule("wsd", 10), 50, 100), 1.0f);
  EXPECT_FLOAT_EQ(learning_rate(schedule("wsd", 10), 57, 100), 1 - 0.75f / 7);
  EXPECT_EQ(learning_rate(schedule("wsd", 80), 70, 100), 71.0f / 80);  // the warm-up goes first
  EXPECT_EQ(learning_rate(schedule("wsd", 80), 80, 100), 1.0f);
}

TEST(Schedule, NeverRisesAfterTheWarmUpNorLeavesItsRange) {
  for (const char* kind : kKinds)
    for (int64_t steps : {1, 2, 3, 10, 97})
      for (int64_t warmup : {0, 1, 9, 10, 200}) {
        float before = 2;
        for (int64_t step = 0; step < steps; ++step) {
          const float rate = learning_rate(schedule(kind, warmup), step, steps);
          ASSERT_GT(rate, 0) << kind << " step " << step << " of " << steps << ", warm-up " << warmup;
          ASSERT_LE(rate, 1) << kind << " step " << step << " of " << steps << ", warm-up " << warmup;
          if (step < warmup) continue;
          ASSERT_LE(rate, before) << kind << " step " << step << " of " << steps << ", warm-up " << warmup;
          ASSERT_GE(rate, 0.25f);
          before = rate;
        }
      }
}

TEST(Schedule, OfOneStepIsItsEnd) {
  EXPECT_EQ(learning_rate(schedule("constant", 0), 0, 1), 1.0f);
  for (const char* kind : {"linear", "cosine", "wsd"}) {
    EXPECT_EQ(learning_rate(schedule(kind, 0), 0, 1), 0.25f) << kind;
    EXPECT_EQ(learning_rate(schedule(kind, 1), 0, 1), 1.0f) << kind;
  }
}

}  // namespace
}  // namespace tessera
