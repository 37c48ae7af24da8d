#include "launch/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "runtime/json.h"
#include "tests/data/temporary_folder.h"
#include "tests/launch/event_reader.h"

namespace tessera {
namespace {

StepMetrics sample(int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.loss = 3.25;
  metrics.loss_text = 4.5;
  metrics.loss_image = 2.125;
  metrics.learning_rate = 3e-4;
  metrics.gradient_norm = 0.75;
  metrics.tokens = 2048;
  metrics.seconds = 0.5;
  metrics.flops = 4'000'000'000;
  metrics.save_held_seconds = 0.25;
  metrics.save_seconds = 1.5;
  metrics.matrix_peak_fraction = 0.625;
  metrics.memory_bytes = 1 << 20;
  metrics.expert_load = {{"0/text/0", 0.25}, {"0/text/1", 0.75}};
  metrics.unrouted = {{"0/text", 0.125}};
  metrics.output_norm = 16;
  metrics.fan_out = {{"0/text/0", 0.125}, {"0/text/1", 0.875}};
  metrics.gate = {{"0/text", 0.5}};
  metrics.depth = {{"0/image", 0.25}};
  metrics.router_gradient = {{"0", 0.0625}, {"0/depth", 2}};
  metrics.prediction_loss = 0.25;
  metrics.prediction_accuracy = {{"0/text", 0.75}};
  metrics.prediction_precision = {{"0/text", 0.5}};
  metrics.prediction_recall = {{"0/text", 0.625}};
  metrics.passes = {{"mixed", 1.5}};
  return metrics;
}

std::vector<int64_t> steps_in(const std::string& path) {
  std::vector<int64_t> steps;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) steps.push_back(Json::parse(line)["step"].get<int64_t>());
  return steps;
}

TEST(Metrics, LineHoldsEveryKey) {
  const Json line = Json::parse(to_line(sample(7)));
  EXPECT_EQ(line, Json::parse(R"({"step": 7, "loss": 3.25, "loss_text": 4.5, "loss_image": 2.125,
    "learning_rate": 3e-4, "gradient_norm": 0.75, "clip_scale": 1.0, "output_norm": 16.0, "prediction_loss": 0.25, "tokens_per_second": 4096.0,
    "seconds": 0.5, "save_held_seconds": 0.25, "save_seconds": 1.5, "flops_per_second": 8e9, "matrix_peak_fraction": 0.625, "skipped": 0, "tokens": 2048,
    "flops": 4000000000, "memory_bytes": 1048576, "expert_load": {"0/text/0": 0.25, "0/text/1": 0.75},
    "unrouted": {"0/text": 0.125}, "fan_out": {"0/text/0": 0.125, "0/text/1": 0.875}, "gate": {"0/text": 0.5},
    "depth": {"0/image": 0.25}, "router_gradient": {"0": 0.0625, "0/depth": 2.0},
    "prediction_accuracy": {"0/text": 0.75}, "prediction_precision": {"0/text": 0.5}, "prediction_recall": {"0/text": 0.625},
    "passes": {"mixed": 1.5}})"));
}

TEST(Metrics, NumbersThatAreNotFiniteAreNamed) {
  StepMetrics metrics = sample(0);
  metrics.loss = std::nan("");
  metrics.gradient_norm = std::numeric_limits<double>::infinity();
  metrics.loss_image.reset();
  metrics.unrouted["0/text"] = -std::numeric_limits<double>::infinity();
  const Json line = Json::parse(to_line(metrics));
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_TRUE(line["gradient_norm"].is_null());
  EXPECT_TRUE(line["loss_image"].is_null());
  EXPECT_TRUE(line["unrouted"]["0/text"].is_null());
  EXPECT_EQ(line["nonfinite"], Json::parse(R"(["loss", "gradient_norm", "unrouted/0/text"])"));
}

TEST(Metrics, ResumeDropsLaterLinesAndATornOne) {
  const TemporaryFolder folder;
  const std::string path = folder / "metrics.jsonl";
  {
    Metrics metrics(folder / "", 0);
    for (int64_t step = 0; step < 6; ++step) metrics.write(sample(step));
  }
  ASSERT_EQ(steps_in(path), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  std::ofstream(path, std::ios::app) << R"({"step": 6, "lo)";
  {
    Metrics metrics(folder / "", 4);
    EXPECT_EQ(steps_in(path), (std::vector<int64_t>{0, 1, 2, 3}));
    metrics.write(sample(4));
  }
  EXPECT_EQ(steps_in(path), (std::vector<int64_t>{0, 1, 2, 3, 4}));
  std::ofstream(path, std::ios::app) << std::string(3, '\0') + "\n";  // blocks that never reached the disk
  { const Metrics metrics(folder / "", 5); }
  EXPECT_EQ(steps_in(path), (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(Metrics, ADamagedLineInTheMiddleIsAnErrorThatLeavesTheFile) {
  const TemporaryFolder folder;
  const std::string path = folder / "metrics.jsonl";
  const std::string text = "{\"step\": 0}\n{\"step\": tw\n{\"step\": 2}\n";
  write_file(path, text);
  EXPECT_EQ(message_of([&] { Metrics(folder / "", 1); }), path + ": line 2 is not an object with a step");
  EXPECT_EQ(bytes_of_file(path), text);
}

TEST(Metrics, MissingFolderIsAnError) {
  EXPECT_EQ(message_of([] { Metrics("/nonexistent/run", 0); }), "metrics: no folder /nonexistent/run");
}

TEST(Metrics, TensorBoardHoldsTheSameScalars) {
  const TemporaryFolder folder;
  {
    Metrics metrics(folder / "", 3);
    metrics.write(sample(3));
  }
  const std::vector<EventRecord> events = read_events(event_files(folder / "").at(0));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[2].step, 3);
  const Json line = Json::parse(to_line(sample(3)));
  size_t expected = 0;
  for (const auto& [key, value] : line.items()) {
    if (key == "step") continue;
    if (!value.is_object()) {
      EXPECT_EQ(events[2].scalars.at(key), static_cast<float>(value.get<double>())) << key;
      ++expected;
      continue;
    }
    for (const auto& [name, number] : value.items()) {
      EXPECT_EQ(events[2].scalars.at(key + "/" + name), static_cast<float>(number.get<double>())) << name;
      ++expected;
    }
  }
  EXPECT_EQ(events[2].scalars.size(), expected);
}

TEST(Metrics, HeadlineSaysWhatIsThere) {
  EXPECT_EQ(headline(sample(0)), "loss 3.250 text 4.500 image 2.125 routers 0.250  4.1 k tokens/s");
  StepMetrics text_only = sample(0);
  text_only.loss_image.reset();
  text_only.prediction_loss.reset();
  EXPECT_EQ(headline(text_only), "loss 3.250 text 4.500  4.1 k tokens/s");
}

}  // namespace
}  // namespace tessera
