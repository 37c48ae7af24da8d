// Causal routing, decoding with a cache and the training of auxiliary routers on the simulated GPU beside the processor.
#include "runtime/cuda_engine.h"

#include <gtest/gtest.h>

#include "tests/simulated_gpu/control.h"
#include "tests/support/causal_models.h"

namespace tessera {
namespace {

ModelConfig routed_config() {
  ModelConfig config = tiny_config({"2t2i"});
  config.depth_capacity = {1, 0.5};
  config.auxiliary_routers = true;
  return config;
}

class CudaDecoding : public testing::Test {
 protected:
  void TearDown() override {
    for (const simulated_gpu::Report& report : simulated_gpu::take_reports())
      ADD_FAILURE() << simulated_gpu::describe(report);
  }
  CpuEngine cpu_;
  CudaEngine gpu_{0};
};

TEST_F(CudaDecoding, GivesTheLogitsOfTheFullPassOnTheProcessor) {
  const ModelConfig config = routed_config();
  const Thresholds thresholds = thresholds_of(config);
  for (bool by_prediction : {false, true}) {
    const auto rows_on = [&](Stream stream) {
      TinyRows tiny = tiny_rows({{7}, {5}}, Modalities::both, stream, 0);
      tiny.rows.thresholds = by_prediction ? nullptr : &thresholds;
      tiny.rows.by_prediction = by_prediction;
      return tiny;
    };
    const std::vector<float> full = tiny_logits(config, rows_on(cpu_.stream()), DType::f32, cpu_.stream());
    Comparison comparison{
        "logits", {}, Values(full.begin(), full.end()), DType::f32, model_roundings(config, 7)};
    with_tiny_model(config, DType::f32, gpu_.stream(), {}, [&](Transformer& model, Shards&) {
      KeyValueCache cache(config, 2, 7);
      comparison.actual =
          decoded_logits(model, rows_on(gpu_.stream()),
                         {{{0, 0, 3}}, {{0, 3, 1}, {1, 0, 4}}, {{1, 4, 1}, {0, 4, 3}}}, cache, gpu_.stream());
    });
    EXPECT_TRUE(close(comparison)) << (by_prediction ? "by prediction" : "by thresholds");
  }
}

TEST_F(CudaDecoding, TeachesAuxiliaryRoutersAsTheProcessorDoes) {
  const ModelConfig config = routed_config();
  const auto step_on = [&](Stream stream) {
    return run_step(config, tiny_rows({{9}, {6}}, Modalities::both, stream), DType::f32, stream,
                    {.trains_auxiliary_routers = true});
  };
  const StepResult expected = step_on(cpu_.stream()), actual = step_on(gpu_.stream());
  const Roundings roundings = model_roundings(config, 9);
  EXPECT_TRUE(close({"loss", {actual.total}, {expected.total}, DType::f32, roundings}));
  for (const auto& [name, gradient] : expected.gradients)
    EXPECT_TRUE(close({name, actual.gradients.at(name), gradient, DType::f32, roundings}));
}

}  // namespace
}  // namespace tessera
