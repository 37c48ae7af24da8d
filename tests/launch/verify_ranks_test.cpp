// The gate of determinism, over real processes: 1 to 4 ranks under mpirun and as threads, 1 and 2 compute threads, f32 and
// bf16, and stops resumed on another number of ranks give identical bits of every loss, parameter and moment.
// `make verify-ranks` runs it whole; a plain test run takes a sample.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "data/synthetic.h"
#include "parallel/checkpoint.h"
#include "runtime/json.h"
#include "tests/support/run_results.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// One way to run the same training.
struct Layout {
  int processes = 0;  ///< under mpirun; 0: started by itself
  int thread_ranks = 1;
  int threads = 1;

  std::string name() const { return str(processes, "p", thread_ranks, "r", threads, "t"); }
};

class VerifyRanks : public testing::Test {
 protected:
  static constexpr int kSteps = 30;

  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("tessera_verify_" + std::to_string(::getpid()) + "_" +
                                           testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_synthetic_dataset((folder_ / "data").string(), 11);
    write_json((folder_ / "config.json").string(),
               {{"data", (folder_ / "data").string()},
                {"steps", kSteps},
                {"save_every", 100},
                {"model",
                 {{"vocab", 64},
                  {"width", 32},
                  {"layers", 2},
                  {"heads", 2},
                  {"hidden", 48},
                  {"feed_forward", {"1t1i", "3t2i"}}}},
                {"loader", {{"micro_batches", 5}, {"mixed_units", 2}, {"text_units", 1}}},
                {"schedule", {{"warmup", 4}, {"peak", 0.003}}}});
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Runs the program and expects success.
  void train(const Layout& layout, const std::string& compute, const std::string& out,
             int stop_at = 0) const {
    std::string command =
        layout.processes == 0
            ? ""
            : str("mpirun --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n ",
                  layout.processes, " ");
    command += str(TESSERA_PROGRAM, " train ", (folder_ / "config.json").string(), " compute=", compute,
                   " threads=", layout.threads, " thread_ranks=", layout.thread_ranks, " stop_at=", stop_at,
                   " out=", (folder_ / out).string(), " > ", (folder_ / "log").string(), " 2>&1");
    ASSERT_EQ(std::system(command.c_str()), 0) << command << "\n" << read_text(folder_ / "log");
  }

  static std::string read_text(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  struct Result {
    std::map<std::string, std::vector<float>> bits;
    std::vector<double> loss;
    friend bool operator==(const Result&, const Result&) = default;
  };
  Result result(const std::string& out) const {
    return {checkpoint_bits(latest_checkpoint((folder_ / out).string()).value()), losses(folder_ / out)};
  }

  /// Every layout against one process of one thread; every stop at half time resumed on another layout.
  void verify(const std::string& compute, const std::vector<Layout>& layouts,
              const std::vector<std::pair<Layout, Layout>>& resumes) {
    train({}, compute, compute);
    const Result expected = result(compute);
    ASSERT_EQ(expected.loss.size(), size_t{kSteps});
    ASSERT_FALSE(expected.bits.empty());
    for (const Layout& layout : layouts) {
      train(layout, compute, compute + layout.name());
      EXPECT_TRUE(result(compute + layout.name()) == expected) << compute << " " << layout.name();
    }
    for (const auto& [first, second] : resumes) {
      const std::string out = compute + first.name() + second.name();
      train(first, compute, out, kSteps / 2);
      train(second, compute, out);
      EXPECT_TRUE(result(out) == expected)
          << compute << " stopped on " << first.name() << ", resumed on " << second.name();
    }
  }

  fs::path folder_;
};

TEST_F(VerifyRanks, Sample) {
  verify("f32", {{.processes = 3}}, {{{.processes = 2}, {.thread_ranks = 4}}});
  verify("bf16", {{.processes = 2, .threads = 2}}, {});
}

class VerifyRanksFull : public VerifyRanks {};

TEST_F(VerifyRanksFull, EveryLayout) {
  std::vector<Layout> layouts;
  for (int threads : {1, 2}) {
    for (int processes : {1, 2, 3, 4}) layouts.push_back({processes, 1, threads});
    for (int ranks : {1, 2, 3, 4}) layouts.push_back({0, ranks, threads});
  }
  const std::vector<std::pair<Layout, Layout>> resumes{{{.processes = 1}, {.processes = 4}},
                                                       {{.processes = 3}, {.processes = 2}},
                                                       {{.thread_ranks = 4}, {.processes = 3}}};
  for (const char* compute : {"f32", "bf16"}) verify(compute, layouts, resumes);
}

}  // namespace
}  // namespace tessera
