// Auxiliary routers: their loss and its gradient against double precision, that nothing else learns, and that they can learn.
#include "layers/auxiliary_router.h"

#include <gtest/gtest.h>

#include "layers/row_choice.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

const std::vector<std::vector<int64_t>> kDocuments{{5, 6}, {1, 9}};

std::vector<ModelConfig> configs() {
  std::vector<ModelConfig> all{tiny_config({"2t3i"}), tiny_config({"moe_4x", "dense"}),
                               tiny_config({"1t2i+shared"}), tiny_config({"1t1i"})};
  all[1].norm = "pre";
  all[1].routing_pool = "sequence";
  all[2].depth_capacity = {0.5, 1};
  all[3].depth_capacity = {0.25};
  for (ModelConfig& config : all) config.auxiliary_routers = true;
  return all;
}

TEST(AuxiliaryRouters, LossAndGradientMatchDoublePrecision) {
  CpuEngine engine;
  const TinyRows tiny = tiny_rows(kDocuments, Modalities::both, engine.stream());
  for (const ModelConfig& config : configs())
    for (DType compute : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(str(config.feed_forward[0], " ", compute));
      const StepResult step =
          run_step(config, tiny, compute, engine.stream(), {.trains_auxiliary_routers = true});
      reference::Parameters parameters = step.values;
      const auto expected = [&] {
        return reference::prediction_loss(config, parameters, tiny.host, step.routing);
      };
      const Roundings roundings = model_roundings(config, 9);
      EXPECT_TRUE(close({"loss", {step.total}, {expected()}, compute, roundings}));
      size_t compared = 0;
      for (const auto& [name, gradient] : step.gradients) {
        Comparison comparison{name, gradient, {}, compute, roundings};
        const bool learns = name.find(".auxiliary.") != std::string::npos;
        compared += learns;
        for (size_t i = 0; i < gradient.size(); ++i)
          comparison.expected.push_back(learns ? reference::derivative(parameters.at(name)[i], expected) : 0);
        EXPECT_TRUE(close(comparison));
        for (double& value : comparison.actual) value *= 1 + 10 * relative_tolerance(comparison);
        EXPECT_EQ(close(comparison), !learns) << name << ": an error of ten tolerances";
      }
      EXPECT_GE(compared, 2u);
    }
}

TEST(AuxiliaryRouters, HaveNothingToSayOfAModalityThatIsAbsent) {
  CpuEngine engine;
  const TinyRows tiny = tiny_rows(kDocuments, Modalities::text, engine.stream());
  const StepResult step =
      run_step(configs()[0], tiny, DType::f32, engine.stream(), {.trains_auxiliary_routers = true});
  EXPECT_TRUE(std::isfinite(step.total));
  for (const auto& [name, gradient] : step.gradients) {
    const bool of_text = name.find("auxiliary.0.") != std::string::npos;
    EXPECT_EQ(largest_magnitude(gradient) > 0, of_text) << name;
  }
}

/// Of a prediction, the pairs that are told right.
double accuracy(const Prediction& prediction) {
  const std::vector<float> logits = prediction.logits.value().to_vector<float>();
  const std::vector<uint8_t> taken = prediction.taken.to_vector<uint8_t>();
  double right = 0;
  for (size_t i = 0; i < logits.size(); ++i) right += (logits[i] > 0) == (taken[i] != 0);
  return right / static_cast<double>(logits.size());
}

TEST(AuxiliaryRouters, LearnAMicroBatchByHeartAndThenChooseAsTheRoutersDid) {
  CpuEngine engine;
  const TinyRows tiny = tiny_rows({{24}, {20}}, Modalities::both, engine.stream());
  ModelConfig config = tiny_config({"2t2i"});
  config.depth_capacity = {
      1, 0.5};  // at the first layer equal tokens have equal scores, and ties no predictor knows
  config.auxiliary_routers = true;
  with_tiny_model(config, DType::f32, engine.stream(), {.trains_auxiliary_routers = true},
                  [&](Transformer& model, Shards& shards) {
                    const std::vector<float> by_rank =
                        model.head(model.hidden(tiny.rows)).value().to_vector<float>();
                    AdamW optimizer = adamw_over(shards.pieces(), {.decay = 0});
                    Routings chosen;
                    Rows rows = tiny.rows;
                    rows.record = &chosen;
                    for (int64_t step = 0; step < 400; ++step) {
                      shards.begin_round(0, 1);
                      chosen = {};
                      Tape tape;
                      model.hidden(rows);
                      tape.backward(prediction_loss(chosen, 1));
                      shards.finish_step();
                      optimizer.step(step, 0.02f, 1);
                      shards.invalidate();
                    }
                    ASSERT_EQ(chosen.predictions.size(), 5u);
                    for (const auto& [router, prediction] : chosen.predictions)
                      EXPECT_EQ(accuracy(prediction), 1) << router;
                    rows.record = nullptr;
                    rows.by_prediction = true;
                    EXPECT_EQ(model.head(model.hidden(rows)).value().to_vector<float>(), by_rank);
                  });
}

TEST(AuxiliaryRouters, AreAskedForWhereTheyAreNot) {
  CpuEngine engine;
  TinyRows tiny = tiny_rows(kDocuments, Modalities::both, engine.stream());
  tiny.rows.by_prediction = true;
  try {
    tiny_logits(tiny_config({"2t2i"}), tiny, DType::f32, engine.stream());
    ADD_FAILURE() << "a model without auxiliary routers was routed by them";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "router 0/text: the model has no auxiliary routers to choose by");
  }
}

TEST(AuxiliaryRouters, AreRefusedWhereNothingIsRouted) {
  ModelConfig config = tiny_config({"1t1i"});
  config.auxiliary_routers = true;
  EXPECT_THROW(check(config), Error);
}

}  // namespace
}  // namespace tessera
