// Training an image tokenizer on the simulated GPU, every checker on: the first step measures what the processor measures,
// and the codes that start anew are written on the device.
#include <gtest/gtest.h>

#include "launch/metrics.h"
#include "launch/train_image_tokenizer.h"
#include "tests/launch/cli_corpus.h"
#include "tests/simulated_gpu/control.h"
#include "tests/support/tiny_autoencoder.h"

namespace tessera {
namespace {

class CudaImageTokenizerTest : public CliCorpusTest {
 protected:
  ImageTokenizerConfig config(const std::string& device) const {
    ImageTokenizerConfig config;
    config.manifest = manifest_;
    config.out = folder_ / device;
    config.device = device;
    config.steps = 2;
    config.threads = 1;
    config.micro_batches = 2;
    config.images = 1;
    config.revive_every = 1;
    config.model = {.image_side = 16,
                    .patch_side = 8,
                    .codes = 12,
                    .code_width = 4,
                    .width = 16,
                    .blocks = 1,
                    .heads = 2};
    return config;
  }
  std::vector<Json> train_on(const std::string& device) const {
    run_ranks(1, [&](Communicator& world) { EXPECT_EQ(train_image_tokenizer(config(device), world), 0); });
    std::vector<Json> steps;
    for (const MetricsLine& line : read_metrics(config(device).out + "/metrics.jsonl"))
      steps.push_back(line.json);
    return steps;
  }
};

TEST_F(CudaImageTokenizerTest, TrainsAsTheProcessorDoes) {
  simulated_gpu::Options options = simulated_gpu::options();
  options.check = true;
  simulated_gpu::set_options(options);
  const std::vector<Json> expected = train_on("cpu"), actual = train_on("cuda");
  for (const simulated_gpu::Report& report : simulated_gpu::take_reports())
    ADD_FAILURE() << simulated_gpu::describe(report);
  ASSERT_EQ(actual.size(), 2u);
  // Later steps start from values that differ in the last bits.
  const Roundings roundings = autoencoder_roundings(config("cpu").model);
  for (const char* key : {"loss", "mse"})
    EXPECT_TRUE(close(
        {key, {actual[0][key].get<double>()}, {expected[0][key].get<double>()}, DType::f32, roundings}));
  EXPECT_EQ(actual[0]["code_perplexity"], expected[0]["code_perplexity"]);
  EXPECT_GT(actual[0]["codes_revived"].get<double>(), 0);
  EXPECT_EQ(actual[0]["codes_revived"], expected[0]["codes_revived"]);
}

}  // namespace
}  // namespace tessera
