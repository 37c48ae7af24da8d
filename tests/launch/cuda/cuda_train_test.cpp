// The trainer on GPUs.  The program linked with the simulated GPU trains, every checker on; the program linked with NVIDIA's
// libraries says what it lacks on a machine without a driver.
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "parallel/checkpoint.h"
#include "tests/launch/cli.h"
#include "tests/support/run_results.h"

namespace tessera {
namespace {

/// A GPU for every rank.
Words on_gpus(int ranks, const Words& command) {
  return under_mpirun(ranks, Words{"env", str("SIMULATED_GPU_COUNT=", ranks)} + command);
}

/// The trainer on the simulated GPU, or a broken one that the mutation gate wants to see fail (tests/cuda_mutants.py).
std::string simulated_program() {
  const char* broken = std::getenv("TESSERA_SIMULATED_PROGRAM");
  return broken ? broken : TESSERA_SIMULATED_PROGRAM;
}

class CudaTrainTest : public CliTest {
 protected:
  Words simulated(const std::string& out, int64_t steps, const Words& overrides) const {
    return Words{simulated_program(), "train", config_, "--device", "cuda", "out=" + folder_ / out,
                 str("steps=", steps)} +
           overrides;
  }
  std::string checkpoint(const std::string& out) const { return latest_checkpoint(folder_ / out).value(); }

  /// The exit code of a program with reports is 86.
  static void expect_no_report(const Words& command) {
    const CommandResult result = run_command(command, std::chrono::minutes(15));
    ASSERT_EQ(result.code, 0) << result.err;
  }

  /// 1, 2 and 4 GPUs give the same bits.
  void expect_same_bits_on_any_number_of_gpus(int64_t steps, const Words& overrides) const {
    expect_no_report(simulated("one", steps, overrides));
    const auto expected = checkpoint_bits(checkpoint("one"));
    ASSERT_FALSE(expected.empty());
    for (int ranks : {2, 4}) {
      const std::string out = str("ranks_", ranks);
      expect_no_report(on_gpus(ranks, simulated(out, steps, overrides)));
      EXPECT_EQ(losses(folder_ / out), losses(folder_ / "one")) << ranks << " ranks";
      EXPECT_TRUE(checkpoint_bits(checkpoint(out)) == expected) << ranks << " ranks";
    }
  }
};

TEST_F(CudaTrainTest, AnyNumberOfGpusGivesTheSameBits) {
  expect_same_bits_on_any_number_of_gpus(2, {"loader.micro_batches=5"});
}

TEST_F(CudaTrainTest, DepthsNoiseAndSharedExpertsGiveTheSameBits) {
  expect_same_bits_on_any_number_of_gpus(
      2,
      {"loader.micro_batches=4", "model.layers=2", "model.depth_capacity=[0.5,1]", "model.router_noise=true",
       "model.gate_order=norm_then_gate", R"(model.feed_forward=["2t1i+shared"])"});
}

class CudaTrainTestFull : public CudaTrainTest {};

TEST_F(CudaTrainTestFull, AnyNumberOfGpusGivesTheSameBitsInF32) {
  expect_same_bits_on_any_number_of_gpus(20, {"loader.micro_batches=5"});
}

TEST_F(CudaTrainTestFull, AnyNumberOfGpusGivesTheSameBitsInBf16) {
  expect_same_bits_on_any_number_of_gpus(20, {"loader.micro_batches=5", "compute=bf16"});
}

// The kind of refusal that users without a GPU meet, before gigabytes of libraries are loaded.
TEST_F(CudaTrainTest, WithoutADriverOneSentence) {
  if (std::filesystem::exists("/proc/driver/nvidia")) GTEST_SKIP() << "there is a driver here";
  const auto began = std::chrono::steady_clock::now();
  expect_refusal(train_words({"--device", "cuda"}), 2, {"device cuda cannot be used", "driver"});
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(3));
}

}  // namespace
}  // namespace tessera
