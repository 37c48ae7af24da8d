// Runs every kernel once at its reference size on the simulated GPU, for `make kernel-report`: the simulator writes what it
// counted (SIMULATED_GPU_PROFILE).  Sizes are those of a training step, small enough for a minute of simulation.
#include <cstdio>
#include <exception>

#include "autograd/functions.h"
#include "autograd/optimizer.h"
#include "kernels/cached_attention.h"
#include "kernels/exact_norm.h"
#include "kernels/fill.h"
#include "kernels/permute.h"
#include "kernels/random_fill.h"
#include "kernels/squared_error.h"
#include "runtime/cuda_engine.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr int64_t kRows = 512, kWidth = 1024, kVocab = 4096, kHeads = 2, kHeadDim = 64, kExperts = 4;

Tensor normal(Shape shape, DType dtype, Stream stream) {
  const Tensor wide = Tensor::empty(shape, DType::f32, stream);
  kernels::fill_normal(wide, {1, Purpose("kernel report"), 0, 0.5f}, stream);
  return cast(wide, dtype).value();
}

Tensor ids(int64_t count, int64_t bound, Stream stream) {
  std::vector<int32_t> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<int32_t>(
        random_below(1, Purpose("ids"), static_cast<uint64_t>(i), static_cast<uint64_t>(bound))));
  return Tensor::from(values, {count}, stream);
}

/// Forward, and backward from a gradient of random numbers.
template <class Function>
void run(std::vector<Tensor> inputs, const Function& function) {
  Tape tape;
  std::vector<Var> vars;
  for (const Tensor& input : inputs) vars.push_back(tape.leaf(input, [](const Tensor&) {}));
  const Var output = function(vars);
  tape.backward(output, normal(output.shape(), output.dtype(), output.stream()));
}

using Vars = const std::vector<Var>&;

void norms_and_pointwise(DType dtype, Stream stream) {
  const auto rows = [&] { return normal({kRows, kWidth}, dtype, stream); };
  const auto vector = [&](int64_t width) { return normal({width}, dtype, stream); };
  run({rows(), vector(kWidth)}, [](Vars in) { return rms_norm(in[0], in[1], 1e-6f); });
  run({rows(), rows(), vector(kWidth)}, [](Vars in) { return add_rms_norm(in[0], in[1], in[2], 1e-6f); });
  const auto heads = [&] { return normal({kRows, kWidth / kHeadDim, kHeadDim}, dtype, stream); };
  std::vector<int32_t> positions;
  for (int32_t row = 0; row < kRows; ++row) positions.push_back(row);
  const Tensor table = rope_table(Tensor::from(positions, {kRows}, stream), kHeadDim, 10000);
  run({heads()}, [&](Vars in) { return rope(in[0], table); });
  run({heads(), vector(kHeadDim), vector(kHeadDim)},
      [&](Vars in) { return qk_norm(in[0], in[1], in[2], table, 1e-5f); });
  run({rows(), rows()}, [](Vars in) { return swiglu(in[0], in[1]); });
  run({rows(), rows()}, [](Vars in) { return add(in[0], in[1]); });
  run({rows(), rows()}, [](Vars in) { return subtract(in[0], in[1]); });
  run({rows()}, [](Vars in) { return sigmoid(in[0]); });
  run({rows()}, [](Vars in) { return silu(in[0]); });
  const DType other = dtype == DType::f32 ? DType::bf16 : DType::f32;
  run({rows()}, [&](Vars in) { return cast(in[0], other); });
  const Tensor tokens = ids(kRows, kVocab, stream);
  run({normal({kVocab, kWidth}, dtype, stream)}, [&](Vars in) { return embedding(tokens, in[0]); });
}

void products_and_attention(DType dtype, Stream stream) {
  const std::vector<int64_t> groups{0, 128, 256, 384, kRows}, documents{0, 200, kRows};
  run({normal({kRows, 256}, dtype, stream), normal({kExperts, 256, 256}, dtype, stream)},
      [&](Vars in) { return matmul(in[0], in[1], groups); });
  const auto heads = [&] { return normal({kRows, kHeads, kHeadDim}, dtype, stream); };
  run({heads(), heads(), heads()}, [&](Vars in) { return attention(in[0], in[1], in[2], documents); });
}

void experts(DType dtype, Stream stream) {
  const Tensor scores = sigmoid(normal({kRows, kExperts}, DType::f32, stream)).value();
  std::vector<int32_t> all;
  for (int32_t row = 0; row < kRows; ++row) all.push_back(row);
  const std::vector<int64_t> pools{0, kRows}, counts{kRows / kExperts};
  const Tensor chosen =
      choose_experts(scores, Tensor::from(all, {kRows}, stream), {kExperts, 0, pools, counts})
          .reshape({kRows});
  const std::vector<int64_t> offsets{0, 128, 256, 384, kRows};
  const Routing routing = make_routing(chosen, offsets, kRows);
  run({normal({kRows, kWidth}, dtype, stream)}, [&](Vars in) { return gather(in[0], routing); });
  run({normal({kRows, kWidth}, dtype, stream), normal({kRows}, DType::f32, stream)},
      [&](Vars in) { return combine(in[0], in[1], routing); });
  run({scores}, [&](Vars in) { return pick(in[0], routing.index, offsets); });
}

/// Eight sequences, each with a cache of kRows, at their last position.
void decoding(DType dtype, Stream stream) {
  constexpr int64_t kSequences = 8;
  const auto heads = [&](int64_t rows) { return normal({rows, kHeads, kHeadDim}, dtype, stream); };
  const Tensor q = heads(kSequences), keys = heads(kSequences * kRows), values = heads(kSequences * kRows);
  std::vector<int32_t> sequence, at;
  for (int32_t s = 0; s < kSequences; ++s) {
    sequence.push_back(s);
    at.push_back((s + 1) * int32_t{kRows} - 1);
  }
  const Tensor last = Tensor::from(at, {kSequences}, stream);
  const auto rows = [](const Tensor& tensor) {
    return tensor.reshape({tensor.shape()[0], kHeads * kHeadDim});
  };
  kernels::store_rows(rows(heads(kSequences)), last, rows(keys), stream);
  const Tensor visible = Tensor::from(std::vector<int32_t>(kSequences, kRows), {kSequences}, stream);
  kernels::cached_attention(
      {q, keys, values, Tensor::from(sequence, {kSequences}, stream), visible, Tensor::like(q)}, kRows,
      stream);
}

void quantisation(Stream stream) {
  constexpr int64_t kCodes = 1024, kCodeWidth = 16;
  nearest_code(normal({kRows, kCodeWidth}, DType::f32, stream),
               normal({kCodes, kCodeWidth}, DType::f32, stream));
  const Tensor x = normal({kRows, kWidth}, DType::f32, stream),
               target = normal({kRows, kWidth}, DType::f32, stream);
  const Tensor by_row = Tensor::empty({kRows}, DType::f32, stream), dx = Tensor::like(x);
  kernels::squared_error_forward(x, target, by_row, stream);
  kernels::squared_error_backward({x, target, normal({1}, DType::f32, stream), dx}, 1, stream);
}

void loss_and_optimizer(Stream stream) {
  const Tensor targets = ids(kRows, kVocab, stream);
  {
    Tape tape;
    const Var x = tape.leaf(normal({kRows, kHeadDim}, DType::bf16, stream), [](const Tensor&) {}),
              weight = tape.leaf(normal({kVocab, kHeadDim}, DType::bf16, stream), [](const Tensor&) {});
    tape.backward(linear_cross_entropy(x, weight, targets, 1.0f / kRows, 1e-5f).total);
  }
  std::vector<uint8_t> answers;
  for (int64_t i = 0; i < kRows * kWidth; ++i) answers.push_back(i % 3 == 0);
  const Tensor right = Tensor::from(answers, {kRows, kWidth}, stream);
  run({normal({kRows, kWidth}, DType::f32, stream)},
      [&](Vars in) { return binary_cross_entropy(in[0], right, 1.0f / kRows); });
  const Tensor value = normal({kRows * kWidth}, DType::f32, stream),
               grad = normal({kRows * kWidth}, DType::f32, stream);
  kernels::norm_parts(grad, 0, stream);
  AdamW({{value, grad, true}}, {}).step(0, 1e-3f, 1.0f);
  kernels::fill(value, 0, stream);
  kernels::fill_logistic(value, {1, Purpose("kernel report"), 0}, stream);
}

}  // namespace
}  // namespace tessera

int main() {
  using namespace tessera;
  try {
    CudaEngine engine(0);
    const Stream stream = engine.stream();
    for (DType dtype : {DType::f32, DType::bf16}) {
      norms_and_pointwise(dtype, stream);
      products_and_attention(dtype, stream);
      experts(dtype, stream);
      decoding(dtype, stream);
    }
    quantisation(stream);
    loss_and_optimizer(stream);
    engine.synchronize();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
