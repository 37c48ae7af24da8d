#include "autograd/tape.h"

#include <gtest/gtest.h>

#include <memory>

#include "autograd/functions.h"
#include "autograd/parameter.h"
#include "runtime/cpu_engine.h"

namespace tessera {
namespace {

class TapeTest : public testing::Test {
 protected:
  Tensor tensor(const std::vector<float>& values) {
    return Tensor::from(values, {std::ssize(values)}, stream);
  }
  Tensor zeros(Shape shape) { return Tensor::zeros(shape, DType::f32, stream); }
  /// A leaf whose gradient is left in into.
  static Var leaf(Tape& tape, const Tensor& value, Tensor& into) {
    return tape.leaf(value, [&into](const Tensor& gradient) { into = gradient; });
  }
  static std::vector<float> values(const Tensor& tensor) {
    const std::span<const float> all = tensor.values<float>();
    return {all.begin(), all.end()};
  }
  static std::string error_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  CpuEngine engine;
  const Stream stream = engine.stream();
};

TEST_F(TapeTest, WithoutATapeNothingIsRecorded) {
  EXPECT_EQ(Tape::active(), nullptr);
  auto captured = std::make_shared<int>();
  const std::weak_ptr<int> alive = captured;
  const Var y = record("op", tensor({1}), {{tensor({1}), [captured](const Tensor& dy) { return dy; }}});
  captured.reset();
  EXPECT_FALSE(y.tracked());
  EXPECT_TRUE(alive.expired());
}

TEST_F(TapeTest, TheInnermostTapeIsActive) {
  Tape outer;
  EXPECT_EQ(Tape::active(), &outer);
  {
    Tape inner;
    EXPECT_EQ(Tape::active(), &inner);
  }
  EXPECT_EQ(Tape::active(), &outer);
}

TEST_F(TapeTest, UntrackedInputsAreDroppedWithWhatTheirRulesCaptured) {
  Tape tape;
  Tensor dx;
  const Var x = leaf(tape, tensor({2}), dx);
  auto captured = std::make_shared<int>();
  const std::weak_ptr<int> alive = captured;
  bool called = false;
  const Var y =
      record("op", tensor({3}),
             {{x, [](const Tensor& dy) { return dy; }}, {tensor({5}), [captured, &called](const Tensor& dy) {
                                                           called = true;
                                                           return dy;
                                                         }}});
  captured.reset();
  EXPECT_TRUE(alive.expired());
  tape.backward(y);
  EXPECT_FALSE(called);
  EXPECT_EQ(values(dx), std::vector<float>{1});
  EXPECT_FALSE(record("op", tensor({1}), {{tensor({1}), [](const Tensor& dy) { return dy; }}}).tracked());
}

TEST_F(TapeTest, FanOutAddsAndLeavesDyAlone) {
  Tape tape;
  Tensor da, db;
  const Var a = leaf(tape, tensor({1, 2}), da), b = leaf(tape, tensor({3, 4}), db);
  const Tensor dy = tensor({10, 20});
  const Var sum = add(add(a, b), add(a, a));  // every rule hands on dy itself
  tape.backward(sum, dy);
  EXPECT_EQ(values(sum.value()), (std::vector<float>{6, 10}));
  EXPECT_EQ(values(da), (std::vector<float>{30, 60}));
  EXPECT_EQ(values(db), (std::vector<float>{10, 20}));
  EXPECT_EQ(values(dy), (std::vector<float>{10, 20}));
}

TEST_F(TapeTest, FanOutOfViewsLeavesDyAlone) {
  Tape tape;
  Tensor da, db;
  const Var a = leaf(tape, tensor({1, 2}), da), b = leaf(tape, tensor({5, 6}), db);
  const Tensor dy = tensor({1, 2, 30, 40, 500, 600, 7000, 8000});
  tape.backward(concat(std::vector<Var>{a, b, a, a}), dy);
  EXPECT_EQ(values(da), (std::vector<float>{7501, 8602}));
  EXPECT_EQ(values(db), (std::vector<float>{30, 40}));
  EXPECT_EQ(values(dy), (std::vector<float>{1, 2, 30, 40, 500, 600, 7000, 8000}));
}

TEST_F(TapeTest, OutputsThatNobodyUsesHaveNoBackward) {
  Tape tape;
  Tensor dx;
  const Var x = leaf(tape, tensor({2}), dx);
  const Var used = add(x, x);
  bool called = false;
  record("unused", tensor({0}), {{x, [&called](const Tensor& dy) {
                                    called = true;
                                    return dy;
                                  }}});
  tape.backward(used);
  EXPECT_FALSE(called);
  EXPECT_EQ(values(dx), std::vector<float>{2});
}

TEST_F(TapeTest, JointRulesMayLeaveGradientsOut) {
  Tape tape;
  Tensor da, db;
  const Var a = leaf(tape, tensor({1}), da), b = leaf(tape, tensor({2}), db);
  const auto both = [](const Tensor& dy) { return std::vector<Tensor>{Tensor(), dy}; };
  tape.backward(record("op", tensor({3}), std::vector<Var>{a, b}, both));
  EXPECT_FALSE(da);
  EXPECT_EQ(values(db), std::vector<float>{1});
}

TEST_F(TapeTest, JointRulesMustGiveOneGradientPerInput) {
  Tape tape;
  Tensor dx;
  const Var x = leaf(tape, tensor({1}), dx);
  const auto two = [](const Tensor& dy) { return std::vector<Tensor>{dy, dy}; };
  const Var y = record("fused", tensor({1}), std::vector<Var>{x}, two);
  EXPECT_EQ(error_of([&] { tape.backward(y); }), "fused: the rule gave 2 gradients for 1 inputs");
}

TEST_F(TapeTest, BackwardFreesWhatWasSaved) {
  Tape tape;
  Tensor dx;
  const Var x = leaf(tape, tensor({1}), dx);
  auto first = std::make_shared<int>(), second = std::make_shared<int>();
  const std::weak_ptr<int> first_alive = first, second_alive = second;
  bool second_was_freed = false;
  const Var y = record("first", tensor({1}), {{x, [first, second_alive, &second_was_freed](const Tensor& dy) {
                                                 second_was_freed = second_alive.expired();
                                                 return dy;
                                               }}});
  const Var z = record("second", tensor({1}), {{y, [second](const Tensor& dy) { return dy; }}});
  first.reset();
  second.reset();
  EXPECT_FALSE(first_alive.expired() || second_alive.expired());
  tape.backward(z);
  EXPECT_TRUE(second_was_freed) << "what the last function saved must go before the first one's rule runs";
  EXPECT_TRUE(first_alive.expired());
}

TEST_F(TapeTest, ActionsRunInReverseBetweenTheFunctions) {
  Tape tape;
  std::string order;
  const Var x = tape.leaf(tensor({1}), [&](const Tensor&) { order += "x"; });
  tape.at_backward([&] { order += "a"; });
  const Var y = record("op", tensor({1}), {{x, [&](const Tensor& dy) {
                                              order += "y";
                                              return dy;
                                            }}});
  tape.at_backward([&] { order += "b"; });
  tape.at_backward([&] { order += "c"; });
  tape.backward(y);
  EXPECT_EQ(order, "cbyax");
}

TEST_F(TapeTest, RefusesWhatBelongsToAnotherTape) {
  Tape outer;
  Tensor dx;
  const Var x = leaf(outer, tensor({1}), dx);
  Tape inner;
  EXPECT_EQ(error_of([&] { add(x, tensor({1})); }), "add: an input was recorded on another tape");
  EXPECT_EQ(error_of([&] { swiglu(tensor({1}), x); }), "swiglu: an input was recorded on another tape");
  EXPECT_EQ(error_of([&] { inner.backward(x); }), "backward: the output was not recorded on this tape");
  EXPECT_EQ(error_of([&] { inner.backward(tensor({1})); }),
            "backward: the output was not recorded on this tape");
}

TEST_F(TapeTest, TheLossIsOneElement) {
  Tape tape;
  Tensor dx;
  const Var x = leaf(tape, tensor({1, 2}), dx);
  EXPECT_EQ(error_of([&] { tape.backward(x); }), "backward: loss must be one element, got [2]");
}

TEST_F(TapeTest, AParameterIsOneLeafAndItsGradientsAdd) {
  Parameter parameter(Shape{2});
  parameter.name = "weight";
  parameter.value = tensor({1, 2});
  parameter.grad = tensor({99, 99});  // room: what is in it does not count
  for (float expected : {2.0f, 4.0f}) {
    Tape tape;
    tape.backward(add(parameter, parameter), tensor({1, 1}));
    EXPECT_EQ(values(parameter.grad), (std::vector<float>{expected, expected}));
  }
  const Var outside = parameter;
  EXPECT_FALSE(outside.tracked());
}

TEST_F(TapeTest, RoomInAParameterIsGivenOutOnceAndNotWhileAGradientIsInIt) {
  Parameter parameter(Shape{1, 2});
  parameter.name = "weight";
  parameter.value = tensor({1, 2}).reshape({1, 2});
  parameter.grad = tensor({99, 99}).reshape({1, 2});
  const Tensor x = tensor({3, 5}).reshape({1, 2}), dy = tensor({1}).reshape({1, 1});
  const auto backward = [&] {
    Tape tape;
    tape.backward(add(matmul(x, parameter), matmul(x, parameter)), dy);
  };
  backward();
  EXPECT_EQ(values(parameter.grad), (std::vector<float>{6, 10}));
  backward();
  EXPECT_EQ(values(parameter.grad), (std::vector<float>{12, 20}));

  Tape tape;
  const GradientRoom room((Var(parameter)));
  EXPECT_NE(room.take().data<float>(), parameter.grad.data<float>());
  parameter.has_grad = parameter.room_taken = false;
  EXPECT_EQ(room.take().data<float>(), parameter.grad.data<float>());
  EXPECT_NE(room.take().data<float>(), parameter.grad.data<float>());
}

TEST_F(TapeTest, AParameterSaysWhyItCannotBeUsed) {
  Parameter parameter(Shape{2});
  EXPECT_EQ(error_of([&] { [[maybe_unused]] const Var var = parameter; }),
            "a parameter of shape [2] is used but missing from its layer's fields()");
  parameter.name = "weight";
  EXPECT_EQ(error_of([&] { [[maybe_unused]] const Var var = parameter; }),
            "weight: used outside its shard group");
  parameter.value = tensor({1, 2});
  EXPECT_EQ(error_of([&] {
              parameter.add_grad(tensor({1, 2}));
            }),
            "weight: backward wrote a gradient but its shard group has made no room for it");
  parameter.grad = zeros({2});
  EXPECT_EQ(error_of([&] { parameter.add_grad(zeros({3})); }),
            "weight: gradient must be f32 [2], got f32 [3]");
  EXPECT_EQ(error_of([&] { parameter.add_grad(Tensor::zeros({2}, DType::bf16, stream)); }),
            "weight: gradient must be f32 [2], got bf16 [2]");
}

TEST_F(TapeTest, TheLedgerCountsFunctions) {
  Tape tape;
  const auto tracked = [&](Shape shape) { return tape.leaf(zeros(shape), [](Tensor) {}); };
  const Var y = matmul(tracked({3, 4}), zeros({5, 4}));
  add(y, y);
  const Var heads = tracked({7, 2, 4});
  attention(heads, heads, heads, std::vector<int64_t>{0, 5, 7});
  const auto& by_op = tape.ledger().by_op();
  ASSERT_EQ(by_op.size(), 3u);
  EXPECT_EQ(by_op.at("matmul").forward_flops, 2 * 3 * 4 * 5);
  EXPECT_EQ(by_op.at("matmul").backward_flops, 2 * 2 * 3 * 4 * 5);
  EXPECT_EQ(by_op.at("matmul").bytes, 4 * (3 * 4 + 5 * 4 + 3 * 5));
  EXPECT_EQ(by_op.at("add").flops(), 0);
  EXPECT_EQ(by_op.at("add").bytes, 4 * 3 * 15);
  EXPECT_EQ(by_op.at("attention").forward_flops, 2 * (5 * 5 + 2 * 2) * 8);
  Cost sum;
  for (const auto& [name, cost] : by_op) sum += cost;
  EXPECT_EQ(tape.ledger().total().flops(), sum.flops());
  EXPECT_EQ(tape.ledger().total().bytes, sum.bytes);
  EXPECT_TRUE(tape.ledger().by_label().empty());
}

TEST_F(TapeTest, ConstantsCostNoBackward) {
  Tape tape;
  Parameter weight({5, 4});
  weight.name = "weight";
  weight.trained = false;
  weight.value = zeros({5, 4});
  const std::vector<std::string> labels{"text/0"};
  const Tape::Labels in_force(labels);
  const std::vector<int64_t> offsets{0, 3};
  EXPECT_FALSE(matmul(zeros({3, 4}), weight, offsets).tracked());
  EXPECT_EQ(tape.ledger().total().forward_flops, 2 * 3 * 4 * 5);
  EXPECT_EQ(tape.ledger().total().backward_flops, 0);
  EXPECT_EQ(tape.ledger().by_label().at("text/0").backward_flops, 0);
  weight.trained = true;
  EXPECT_TRUE(matmul(zeros({3, 4}), weight, offsets).tracked());
  EXPECT_EQ(tape.ledger().by_label().at("text/0").backward_flops, 2 * 2 * 3 * 4 * 5);
}

TEST_F(TapeTest, LabelsSplitGroupedProducts) {
  Tape tape;
  const std::vector<std::string> outer_labels{"all"}, labels{"text/0", "image/0", "image/1"};
  const std::vector<int64_t> offsets{0, 4, 4, 9}, whole{0, 9};
  const Var x = tape.leaf(zeros({9, 2}), [](Tensor) {});
  const Tape::Labels outer(outer_labels);
  {
    const Tape::Labels inner(labels);
    matmul(x, zeros({3, 5, 2}), offsets);
    matmul(x, zeros({5, 2}));  // one group of everything has no part of its own
    EXPECT_EQ(error_of([&] { matmul(x, zeros({1, 5, 2}), whole); }), "matmul: 3 labels for 1 groups");
  }
  matmul(x, zeros({1, 5, 2}), whole);
  const auto& parts = tape.ledger().by_label();
  EXPECT_EQ(parts.at("text/0").forward_flops, 4 * 2 * 2 * 5);
  EXPECT_EQ(parts.at("image/0").flops(), 0);
  EXPECT_EQ(parts.at("image/1").flops(), 3 * 5 * 2 * 2 * 5);
  EXPECT_EQ(parts.at("all").forward_flops, 9 * 2 * 2 * 5);
  EXPECT_EQ(tape.ledger().total().forward_flops, 3 * 9 * 2 * 2 * 5);
}

}  // namespace
}  // namespace tessera
