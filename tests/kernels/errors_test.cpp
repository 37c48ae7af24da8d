// Kernels refuse what their contracts exclude, and say whose argument it was.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/binary_cross_entropy.h"
#include "kernels/cached_attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/exact_norm.h"
#include "kernels/expert_choice.h"
#include "kernels/permute.h"
#include "kernels/pointwise.h"
#include "kernels/qk_norm.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

using Numbers = std::vector<int64_t>;

class Errors : public testing::Test {
 protected:
  CpuEngine engine;
  Stream stream = engine.stream();

  Tensor f32(Shape shape) { return Tensor::zeros(shape, DType::f32, stream); }
  Tensor half(Shape shape) { return Tensor::zeros(shape, DType::bf16, stream); }
  Tensor i32(std::vector<int32_t> values) { return Tensor::from(values, {std::ssize(values)}, stream); }

  /// Expects an Error of op whose message contains words.
  void refuses(const std::string& op, const std::string& words, const std::function<void()>& call) {
    try {
      call();
      ADD_FAILURE() << op << " accepted what it should refuse: " << words;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.rfind(op + ": ", 0), 0u) << message;
      EXPECT_NE(message.find(words), std::string::npos) << message << "\nlacks " << words;
    }
  }
};

TEST_F(Errors, Pointwise) {
  refuses("add", "b must have 6 elements of f32, got [5] f32", [&] {
    add(f32({2, 3}), f32({5}), f32({6}), stream);
  });
  refuses("add", "b must have 6 elements of f32, got [6] bf16",
          [&] { add(f32({6}), half({6}), f32({6}), stream); });
  refuses("add", "y is missing", [&] { add(f32({6}), f32({6}), Tensor(), stream); });
  refuses("add", "a must be on meta:0, got cpu:0",
          [&] { add(f32({6}), f32({6}), f32({6}), Stream::meta()); });
  refuses("subtract", "b must have 6 elements of f32, got [6] bf16",
          [&] { subtract(f32({6}), half({6}), f32({6}), stream); });
  refuses("negate", "y must have 2 elements of f32, got [2] bf16",
          [&] { negate(f32({2}), half({2}), stream); });
  refuses("cast", "x must be f32 or bf16, got i32", [&] { cast(i32({1}), f32({1}), stream); });
  refuses("cast", "y must have 2 elements", [&] { cast(f32({2}), half({3}), stream); });
  refuses("sigmoid_forward", "y must have 2 elements", [&] { sigmoid_forward(f32({2}), f32({3}), stream); });
  refuses("sigmoid_backward", "dy must have 2 elements",
          [&] { sigmoid_backward(f32({2}), f32({3}), f32({2}), stream); });
  refuses("silu_forward", "x must be f32 or bf16, got i32",
          [&] { silu_forward(i32({1}), f32({1}), stream); });
  refuses("silu_backward", "dx must have 2 elements",
          [&] { silu_backward(f32({2}), f32({2}), f32({3}), stream); });
  refuses("swiglu_forward", "up must be [2, 3] f32, got [3, 2] f32", [&] {
    swiglu_forward(f32({2, 3}), f32({3, 2}), f32({2, 3}), stream);
  });
  refuses("swiglu_backward", "dup must be [2] f32, got [2] bf16",
          [&] { swiglu_backward(f32({2}), f32({2}), f32({2}), f32({2}), half({2}), stream); });
  refuses("adamw", "second must have 4 elements",
          [&] { adamw(f32({4}), f32({4}), f32({4}), f32({3}), {}, {}, stream); });
  refuses("adamw", "grad must have 4 elements of f32",
          [&] { adamw(f32({4}), half({4}), f32({4}), f32({4}), {}, {}, stream); });
  refuses("adamw", "rounded must have 4 elements of bf16",
          [&] { adamw(f32({4}), f32({4}), f32({4}), f32({4}), f32({4}), {}, stream); });
}

TEST_F(Errors, Norms) {
  refuses("rms_norm_forward", "x must have 2 dims",
          [&] { rms_norm_forward(f32({6}), f32({6}), {}, f32({6}), f32({1}), 0, stream); });
  refuses("rms_norm_forward", "x must be [rows, cols > 0], got [2, 0]", [&] {
    rms_norm_forward(f32({2, 0}), f32({0}), {}, f32({2, 0}), f32({2}), 0, stream);
  });
  refuses("rms_norm_forward", "residual must be [2, 3] f32", [&] {
    rms_norm_forward(f32({2, 3}), f32({3}), f32({3, 2}), f32({2, 3}), f32({2}), 0, stream);
  });
  refuses("rms_norm_backward", "inverse_rms must be [2] f32", [&] {
    rms_norm_backward(f32({2, 3}), f32({3}), f32({3}), f32({2, 3}), f32({2, 3}), f32({3}), stream);
  });
  refuses("rms_norm_backward", "dweight must be [3] f32, got [3] bf16", [&] {
    rms_norm_backward(half({2, 3}), half({3}), f32({2}), half({2, 3}), half({2, 3}), half({3}), stream);
  });
}

TEST_F(Errors, QkNorm) {
  const auto forward = [&](const Tensor& x, const Tensor& bias, const Tensor& table,
                           const Tensor& statistics) {
    qk_norm_forward({x, half({4}), bias, table, half({2, 3, 4}), statistics}, 0, stream);
  };
  refuses("qk_norm_forward", "x must have 3 dims", [&] {
    forward(half({6, 4}), half({4}), f32({2, 4}), f32({6, 2}));
  });
  refuses("qk_norm_forward", "head_dim must be even and not 0, got [2, 3, 5]", [&] {
    forward(half({2, 3, 5}), half({4}), f32({2, 4}), f32({6, 2}));
  });
  refuses("qk_norm_forward", "head_dim must be even and not 0, got [2, 3, 0]", [&] {
    forward(half({2, 3, 0}), half({4}), f32({2, 4}), f32({6, 2}));
  });
  refuses("qk_norm_forward", "bias must be [4] bf16, got [4] f32", [&] {
    forward(half({2, 3, 4}), f32({4}), f32({2, 4}), f32({6, 2}));
  });
  refuses("qk_norm_forward", "table must be [2, 4] f32, got [6, 4] f32", [&] {
    forward(half({2, 3, 4}), half({4}), f32({6, 4}), f32({6, 2}));
  });
  refuses("qk_norm_forward", "statistics must be [6, 2] f32", [&] {
    forward(half({2, 3, 4}), half({4}), f32({2, 4}), f32({6}));
  });
  refuses("qk_norm_backward", "dbias must be [4] f32, got [2] f32", [&] {
    const Tensor x = f32({2, 3, 4});
    qk_norm_backward({x, f32({4}), f32({2, 4}), f32({6, 2}), x, x, f32({4}), f32({2})}, stream);
  });
}

TEST_F(Errors, Rope) {
  refuses("rope_table", "table must be [rows, head_dim] with an even head_dim, got [2, 3]", [&] {
    rope_table(i32({0, 1}), f32({2, 3}), 1e4, stream);
  });
  refuses("rope_table", "table must be [2, 4] f32, got [2, 4] bf16", [&] {
    rope_table(i32({0, 1}), half({2, 4}), 1e4, stream);
  });
  refuses("rope_table", "positions must be [2] i32, got [3] i32", [&] {
    rope_table(i32({0, 1, 2}), f32({2, 4}), 1e4, stream);
  });
  refuses("rope_table", "positions[1] must not be negative, got -1", [&] {
    rope_table(i32({0, -1}), f32({2, 4}), 1e4, stream);
  });
  refuses("rope_table", "base must exceed 1, got 1", [&] {
    rope_table(i32({0, 1}), f32({2, 4}), 1, stream);
  });
  refuses("rope_forward", "head_dim must be even, got [2, 1, 3]", [&] {
    rope_forward(f32({2, 1, 3}), f32({2, 3}), f32({2, 1, 3}), stream);
  });
  refuses("rope_backward", "table must be [2, 4] f32, got [2, 2] f32", [&] {
    rope_backward(f32({2, 1, 4}), f32({2, 2}), f32({2, 1, 4}), stream);
  });
}

TEST_F(Errors, Attention) {
  const Tensor x = f32({4, 2, 8}), log_sum = f32({2, 4});
  const Numbers good = {0, 4}, late = {1, 4}, wrong_end = {0, 3}, falling = {0, 3, 2, 4}, none;
  refuses("attention_forward", "k must be [4, 2, 8] f32, got [4, 1, 8] f32", [&] {
    attention_forward(x, f32({4, 1, 8}), x, x, log_sum, {good}, stream);
  });
  refuses("attention_forward", "log_sum must be [2, 4] f32", [&] {
    attention_forward(x, x, x, f32({4, 2, 8}), f32({4, 2}), {good}, stream);
  });
  refuses("attention_forward", "segments must run from 0 to 4, got 1 to 4", [&] {
    attention_forward(x, x, x, f32({4, 2, 8}), log_sum, {late}, stream);
  });
  refuses("attention_forward", "segments must run from 0 to 4, got no numbers", [&] {
    attention_forward(x, x, x, f32({4, 2, 8}), log_sum, {none}, stream);
  });
  refuses("attention_backward", "segments must run from 0 to 4, got 0 to 3", [&] {
    attention_backward({x, x, x, x, log_sum, x, x, x, x}, {wrong_end}, stream);
  });
  refuses("attention_backward", "segments must not decrease, got 3 before 2", [&] {
    attention_backward({x, x, x, x, log_sum, x, x, x, x}, {falling}, stream);
  });
  refuses("attention_backward", "dv is missing", [&] {
    attention_backward({x, x, x, x, log_sum, x, x, x, Tensor()}, {good}, stream);
  });
}

TEST_F(Errors, CachedAttention) {
  const Tensor cache = f32({6, 2, 8}), q = f32({2, 2, 8}),
               y = uniform_tensor("y", {2, 2, 8}, DType::f32, stream), before = copy_of(y);
  const auto attend = [&](const Tensor& sequence, const Tensor& visible, int64_t capacity) {
    cached_attention({q, cache, cache, sequence, visible, y}, capacity, stream);
  };
  refuses("cached_attention", "visible[1] must be in [1, 4), got 4", [&] {
    attend(i32({0, 1}), i32({1, 4}), 3);
  });
  refuses("cached_attention", "visible[0] must be in [1, 4), got 0", [&] {
    attend(i32({0, 1}), i32({0, 3}), 3);
  });
  refuses("cached_attention", "sequence[1] must be in [0, 2), got 2", [&] {
    attend(i32({0, 2}), i32({1, 3}), 3);
  });
  refuses("cached_attention", "sequence must be [2] i32, got [3] i32", [&] {
    attend(i32({0, 1, 1}), i32({1, 3}), 3);
  });
  refuses("cached_attention", "visible must be [2] i32, got [1] i32", [&] {
    attend(i32({0, 1}), i32({1}), 3);
  });
  refuses("cached_attention", "keys must be whole sequences of capacity 4, got [6, 2, 8]", [&] {
    attend(i32({0, 1}), i32({1, 1}), 4);
  });
  refuses("cached_attention", "keys must be whole sequences of capacity 0", [&] {
    attend(i32({0, 1}), i32({1, 1}), 0);
  });
  EXPECT_TRUE(same_bits(y, before)) << "written before the check";
  const Tensor one = i32({0, 0}), see = i32({1, 1});
  refuses("cached_attention", "keys must be [6, 2, 8] f32, got [6, 1, 8] f32", [&] {
    cached_attention({q, f32({6, 1, 8}), cache, one, see, y}, 3, stream);
  });
  refuses("cached_attention", "values must be [6, 2, 8] f32, got [5, 2, 8] f32", [&] {
    cached_attention({q, cache, f32({5, 2, 8}), one, see, y}, 3, stream);
  });
  refuses("cached_attention", "y must be [2, 2, 8] f32, got [2, 2, 8] bf16", [&] {
    cached_attention({q, cache, cache, one, see, half({2, 2, 8})}, 3, stream);
  });
  refuses("cached_attention", "head_dim must be in [1, 256], got [1, 1, 257]", [&] {
    const Tensor wide = f32({1, 1, 257});
    cached_attention({wide, wide, wide, i32({0}), i32({1}), wide}, 1, stream);
  });
}

TEST_F(Errors, CrossEntropy) {
  refuses("cross_entropy_forward", "logits must be [rows, vocab > 0] f32, got [2, 3] bf16", [&] {
    cross_entropy_forward(half({2, 3}), i32({0, 1}), f32({2}), f32({2}), stream);
  });
  refuses("cross_entropy_forward", "targets[1] must be in [-1, 3), got 3", [&] {
    cross_entropy_forward(f32({2, 3}), i32({0, 3}), f32({2}), f32({2}), stream);
  });
  refuses("cross_entropy_backward", "targets[0] must be in [-1, 3), got -2", [&] {
    cross_entropy_backward(f32({2, 3}), i32({-2, 0}), f32({2}), {}, stream);
  });
  refuses("cross_entropy_backward", "log_sum must be [2] f32, got [3] f32", [&] {
    cross_entropy_backward(f32({2, 3}), i32({0, 1}), f32({3}), {}, stream);
  });
}

TEST_F(Errors, BinaryCrossEntropy) {
  const Tensor right = Tensor::from(std::vector<uint8_t>{0, 1}, {2}, stream),
               wrong = Tensor::from(std::vector<uint8_t>{1, 255}, {2}, stream);
  refuses("binary_cross_entropy_forward", "logits must be [2] f32, got [2] bf16",
          [&] { binary_cross_entropy_forward(half({2}), right, f32({1}), 1, stream); });
  refuses("binary_cross_entropy_forward", "targets must be [2] u8, got [2] i32", [&] {
    binary_cross_entropy_forward(f32({2}), i32({0, 1}), f32({1}), 1, stream);
  });
  refuses("binary_cross_entropy_forward", "total must be [1] f32, got [2] f32",
          [&] { binary_cross_entropy_forward(f32({2}), right, f32({2}), 1, stream); });
  refuses("binary_cross_entropy_forward", "targets[1] must be in [0, 2), got 255",
          [&] { binary_cross_entropy_forward(f32({2}), wrong, f32({1}), 1, stream); });
  refuses("binary_cross_entropy_backward", "targets[1] must be in [0, 2), got 255",
          [&] { binary_cross_entropy_backward(f32({2}), wrong, f32({1}), f32({2}), 1, stream); });
  refuses("binary_cross_entropy_backward", "dlogits must be [2] f32, got [3] f32",
          [&] { binary_cross_entropy_backward(f32({2}), right, f32({1}), f32({3}), 1, stream); });
}

TEST_F(Errors, Embedding) {
  const Tensor y = uniform_tensor("y", {3, 4}, DType::f32, stream), before = copy_of(y);
  refuses("embedding_forward", "ids[2] must be in [0, 5), got 5", [&] {
    embedding_forward(i32({0, 4, 5}), f32({5, 4}), y, stream);
  });
  EXPECT_TRUE(same_bits(y, before)) << "written before the check";
  refuses("embedding_forward", "y must be [3, 4] f32, got [3, 4] bf16", [&] {
    embedding_forward(i32({0, 4, 1}), f32({5, 4}), half({3, 4}), stream);
  });
  refuses("embedding_backward", "ids[0] must be in [0, 3), got -7", [&] {
    embedding_backward(i32({-7, 0}), f32({2, 4}), y, stream);
  });
  EXPECT_TRUE(same_bits(y, before)) << "written before the check";
  refuses("embedding_backward", "dtable must be [5, 4] f32, got [5, 3] f32", [&] {
    embedding_backward(i32({0, 1}), f32({2, 4}), f32({5, 3}), stream);
  });
}

TEST_F(Errors, Permute) {
  refuses("gather", "index[1] must be in [0, 2), got 2", [&] {
    gather(f32({2, 4}), i32({0, 2}), f32({2, 4}), stream);
  });
  refuses("gather", "y must be [2, 4] f32, got [2, 5] f32", [&] {
    gather(f32({2, 4}), i32({0, 1}), f32({2, 5}), stream);
  });
  const Tensor target = uniform_tensor("target", {2, 4}, DType::f32, stream), before = copy_of(target);
  refuses("store_rows", "index[1] must be in [0, 2), got -1", [&] {
    store_rows(f32({2, 4}), i32({0, -1}), target, stream);
  });
  refuses("store_rows", "index must be distinct, got 1 twice", [&] {
    store_rows(f32({2, 4}), i32({1, 1}), target, stream);
  });
  EXPECT_TRUE(same_bits(target, before)) << "written before the check";
  refuses("store_rows", "x must be [2, 4] f32, got [2, 5] f32", [&] {
    store_rows(f32({2, 5}), i32({0, 1}), target, stream);
  });
  refuses("store_rows", "index must be [2] i32, got [1] i32", [&] {
    store_rows(f32({2, 4}), i32({0}), target, stream);
  });
  refuses("invert", "index[0] must be in [0, 2), got 2", [&] {
    invert(i32({2}), i32({0, 0, 0}), i32({0}), stream);
  });
  refuses("invert", "slots must be [1] i32, got [2] i32", [&] {
    invert(i32({0}), i32({0, 0}), i32({0, 0}), stream);
  });
  const Numbers columns = {0, 1, 2}, falling = {0, 3, 2};
  refuses("pick", "columns must be 4 numbers, got 3", [&] {
    pick(f32({2, 3}), i32({0, 1}), columns, f32({2}), stream);
  });
  refuses("pick", "index[1] must be in [0, 2), got 2", [&] {
    pick(f32({2, 2}), i32({0, 2}), columns, f32({2}), stream);
  });
  refuses("pick_backward", "columns must not decrease, got 3 before 2", [&] {
    pick_backward(f32({2}), i32({0, 1}), falling, f32({2, 2}), stream);
  });
  refuses("combine", "gates must be [2] f32, got [3] f32", [&] {
    combine(f32({2, 4}), f32({3}), {i32({0, 2}), i32({0, 1})}, f32({1, 4}), stream);
  });
  refuses("combine", "offsets must run from 0 to 2, got 0 to 1", [&] {
    combine(f32({2, 4}), {}, {i32({0, 1}), i32({0, 1})}, f32({1, 4}), stream);
  });
  refuses("combine", "slots[1] must be in [0, 2), got 2", [&] {
    combine(f32({2, 4}), {}, {i32({0, 2}), i32({0, 2})}, f32({1, 4}), stream);
  });
  refuses("combine_backward", "index[0] must be in [0, 1), got 1", [&] {
    combine_backward({f32({1, 4}), {}, i32({1}), f32({1, 4}), f32({1, 4}), {}}, stream);
  });
  refuses("combine_backward", "x is missing", [&] {
    combine_backward({{}, f32({1}), i32({0}), f32({1, 4}), f32({1, 4}), f32({1})}, stream);
  });
}

TEST_F(Errors, ExpertChoice) {
  const Numbers pools = {0, 2}, two = {2}, three = {3}, less_than_none = {-1};
  const auto choose = [&](const Tensor& candidates, ExpertChoiceOptions options, Shape chosen) {
    expert_choice(f32({4, 3}), candidates, Tensor::empty(chosen, DType::i32, stream), options, stream);
  };
  refuses("expert_choice", "counts[0] must be in [0, 2], got 3", [&] {
    choose(i32({0, 1}), {0, pools, three}, {1, 3});
  });
  refuses("expert_choice", "counts[0] must be in [0, 2], got -1", [&] {
    choose(i32({0, 1}), {0, pools, less_than_none}, {1, 0});
  });
  refuses("expert_choice", "columns [2, 4) must be inside scores", [&] {
    choose(i32({0, 1}), {2, pools, two}, {2, 2});
  });
  refuses("expert_choice", "candidates must increase, got 1 before 1", [&] {
    choose(i32({1, 1}), {0, pools, two}, {1, 2});
  });
  refuses("expert_choice", "candidates[1] must be in [0, 4), got 4", [&] {
    choose(i32({1, 4}), {0, pools, two}, {1, 2});
  });
  refuses("expert_choice", "pools must run from 0 to 3, got 0 to 2", [&] {
    choose(i32({0, 1, 2}), {0, pools, two}, {1, 2});
  });
  refuses("expert_choice", "chosen must be [1, 2] i32, got [1, 3] i32", [&] {
    choose(i32({0, 1}), {0, pools, two}, {1, 3});
  });
}

TEST_F(Errors, ExactNorm) {
  refuses("norm_parts", "x must have 2 elements of f32, got [2] bf16",
          [&] { norm_parts(half({2}), 0, stream); });
}

}  // namespace
}  // namespace tessera::kernels
