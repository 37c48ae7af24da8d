// Training steps on the simulated GPU beside the same steps on the processor.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/optimizer.h"
#include "data/loader.h"
#include "data/synthetic.h"
#include "launch/rows.h"
#include "layers/transformer.h"
#include "runtime/cpu_engine.h"
#include "runtime/cuda_engine.h"
#include "runtime/random.h"
#include "tests/data/temporary_folder.h"
#include "tests/simulated_gpu/control.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

constexpr int kMicroBatches = 2;
constexpr float kRate = 3e-3f;

ModelConfig model_config() {
  ModelConfig config;
  config.vocab = 64;
  config.width = 32;
  config.layers = 2;
  config.heads = 2;
  config.hidden = 48;
  config.feed_forward = {"1t1i", "2t1i"};
  return config;
}

using Parameters = std::vector<std::vector<float>>;  ///< by piece
using StepRoutings = std::vector<Routings>;          ///< by micro-batch

/// One rank that trains on one stream; every part of a step can be taken from another trainer.
class Trainer {
 public:
  Trainer(Communicator& world, Loader& loader, DType compute, Stream stream)
      : loader_(loader),
        stream_(stream),
        model_(model_config()),
        shards_(shard(model_, Mesh(world), stream, {compute, false}, 1, model_config().deviation)),
        optimizer_(adamw_over(shards_.pieces(), {})) {}

  Parameters parameters() const {
    Parameters all;
    for (const ShardPiece& piece : shards_.pieces()) all.push_back(piece.value.to_vector<float>());
    return all;
  }
  void set_parameters(const Parameters& parameters) {
    const std::vector<ShardPiece> pieces = shards_.pieces();
    for (size_t i = 0; i < pieces.size(); ++i) pieces[i].value.assign(std::span<const float>(parameters[i]));
    shards_.invalidate();
  }

  /// Loss and gradients of a step.  replay: choices of experts to use instead of the model's own.
  double differentiate(int64_t step, const StepRoutings* replay = nullptr) {
    const StepPlan plan = loader_.plan(step);
    const float scale = 1.0f / static_cast<float>(plan.target_count);
    double loss = 0;
    routings_.assign(kMicroBatches, {});
    for (int64_t leaf = 0; leaf < plan.leaves; ++leaf) {
      const Batch batch =
          read_batch(loader_.dataset(), loader_.sampler().micro_batch(step, leaf), false, host_.stream());
      Rows rows = rows_of(batch, stream_);
      rows.record = &routings_[static_cast<size_t>(leaf)];
      Routings given;
      if (replay) {
        given = there((*replay)[static_cast<size_t>(leaf)], batch.tokens.count());
        rows.replay = &given;
      }
      shards_.begin_round(leaf, plan.leaves);
      Tape tape;
      const Loss result = model_.loss(model_.hidden(rows), batch.targets.to(stream_), scale, 0);
      tape.backward(result.total);
      loss += static_cast<double>(result.total.value().to_vector<float>()[0]);
    }
    shards_.finish_step();
    return loss;
  }
  Parameters gradients() const {
    Parameters all;
    for (const ShardPiece& piece : shards_.pieces()) all.push_back(piece.grad.to_vector<float>());
    return all;
  }
  const StepRoutings& routings() const { return routings_; }

  void update(int64_t step) {
    optimizer_.step(step, kRate, 1);
    shards_.invalidate();
  }

 private:
  /// Another device's choices on this stream.
  Routings there(const Routings& chosen, int64_t rows) const {
    Routings moved;
    for (const auto& [layer, routed] : chosen.experts)
      moved.experts[layer].routing = make_routing(
          Tensor::from(routed.routing.index.to_vector<int32_t>(), routed.routing.index.shape(), stream_),
          routed.routing.offsets, rows);
    return moved;
  }

  CpuEngine host_;  // of the batches, which recorded routings share
  Loader& loader_;
  Stream stream_;
  Transformer model_;
  Shards shards_;
  AdamW optimizer_;
  StepRoutings routings_;
};

class CudaStepsTest : public testing::Test {
 protected:
  CudaStepsTest() { write_synthetic_dataset(folder_ / "data", 7); }

  Loader loader() {
    return Loader(TokenDataset(folder_ / "data", "train"), {.micro_batches = kMicroBatches, .mixed_units = 1},
                  1, host_.stream());
  }
  static void expect_no_report() {
    for (const simulated_gpu::Report& report : simulated_gpu::take_reports())
      ADD_FAILURE() << simulated_gpu::describe(report);
  }

  /// Every element within the tolerance of the largest, and the whole within the tolerance of its norm: a few rows of experts
  /// can hold most of a gradient, and the largest element alone would hide errors in all others.
  static void expect_close(const std::string& what, const std::vector<float>& actual,
                           const std::vector<float>& expected, double tolerance) {
    double largest = 0, squares = 0, errors = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double value = expected[i], error = actual[i] - value;
      largest = std::max(largest, std::abs(value));
      squares += value * value;
      errors += error * error;
    }
    EXPECT_LE(std::sqrt(errors), tolerance * std::sqrt(squares)) << what;
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_LE(std::abs(actual[i] - expected[i]), tolerance * largest) << what << ", element " << i;
  }

  /// Every step starts from what the processor has, with the experts that it chose.
  void expect_gradients_of_the_processor(int64_t steps, DType compute) {
    CpuEngine cpu;
    CudaEngine cuda(0);
    Loader data = loader();
    run_ranks(1, [&](Communicator& world) {
      Trainer here(world, data, compute, cpu.stream()), there(world, data, compute, cuda.stream());
      Roundings roundings = model_roundings(model_config(), data.dataset().length());
      // Both sides round in f32, each in its own order.  bf16 they round alike but where a value stands on a boundary, so
      // that what one side may be off by holds for the difference.
      roundings.terms *= 2;
      for (int64_t step = 0; step < steps; ++step) {
        there.set_parameters(here.parameters());
        const double loss = here.differentiate(step),
                     loss_there = there.differentiate(step, &here.routings());
        EXPECT_TRUE(close({str("loss of step ", step), {loss_there}, {loss}, compute, roundings}));
        const Parameters expected = here.gradients(), actual = there.gradients();
        const double tolerance = relative_tolerance({"", {}, {}, compute, roundings});
        ASSERT_LT(tolerance, 0.1);
        for (size_t i = 0; i < expected.size(); ++i)
          expect_close(str("gradient of piece ", i, ", step ", step), actual[i], expected[i], tolerance);
        here.update(step);
      }
    });
    expect_no_report();
  }

  /// Losses of steps by itself.  perturbed: every parameter starts a unit in the last place up or down, drawn from it; 0: not.
  std::vector<double> free_losses(Stream stream, int64_t steps, uint64_t perturbed) {
    std::vector<double> losses;
    Loader data = loader();
    run_ranks(1, [&](Communicator& world) {
      Trainer trainer(world, data, DType::f32, stream);
      if (perturbed > 0) {
        Parameters parameters = trainer.parameters();
        uint64_t index = 0;
        for (std::vector<float>& piece : parameters)
          for (float& value : piece)
            value =
                std::nextafter(value, random_below(perturbed, Purpose("ulp"), index++, 2) ? 1e30f : -1e30f);
        trainer.set_parameters(parameters);
      }
      for (int64_t step = 0; step < steps; ++step) {
        losses.push_back(trainer.differentiate(step));
        trainer.update(step);
      }
    });
    return losses;
  }

  TemporaryFolder folder_;
  CpuEngine host_;
};

TEST_F(CudaStepsTest, GradientsOfTheProcessor) { expect_gradients_of_the_processor(1, DType::f32); }
TEST_F(CudaStepsTest, GradientsOfTheProcessorInBf16) { expect_gradients_of_the_processor(1, DType::bf16); }

class CudaStepsTestFull : public CudaStepsTest {};

TEST_F(CudaStepsTestFull, GradientsOfTheProcessor) {
  for (DType compute : {DType::f32, DType::bf16}) expect_gradients_of_the_processor(20, compute);
}

TEST_F(CudaStepsTestFull, LossesStayAmongThoseOfPerturbedRuns) {
  constexpr int64_t kSteps = 20;
  constexpr uint64_t kRuns = 10;
  std::vector<std::vector<double>> runs;
  for (uint64_t run = 1; run <= kRuns; ++run) runs.push_back(free_losses(host_.stream(), kSteps, run));
  CudaEngine cuda(0);
  const std::vector<double> losses = free_losses(cuda.stream(), kSteps, 0);
  for (size_t step = 0; step < losses.size(); ++step) {
    double least = runs[0][step], most = least, sum = 0;
    for (const std::vector<double>& run : runs) {
      least = std::min(least, run[step]);
      most = std::max(most, run[step]);
      sum += run[step];
    }
    EXPECT_LE(std::abs(losses[step] - sum / kRuns), 3 * (most - least)) << "step " << step;
  }
  EXPECT_LT(losses.back(), losses.front());
  expect_no_report();
}

}  // namespace
}  // namespace tessera
