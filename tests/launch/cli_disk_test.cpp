// A disk that is full: whatever was being written is given up, everything else is as it was.

#include "parallel/checkpoint.h"
#include "tests/launch/cli_corpus.h"
#include "tests/support/tiny_disk.h"

namespace tessera {
namespace {

class CliDiskTest : public CliCorpusTest {
 protected:
  static constexpr int64_t kKilobytes = 1024;

  void SetUp() override {
    if (!disk_.failure().empty()) GTEST_SKIP() << "no small file system can be mounted: " << disk_.failure();
    CliCorpusTest::SetUp();
  }

  TinyDisk disk_{folder_ / "disk", kKilobytes};
  const std::string run_ = disk_.path() + "/run";
};

TEST_F(CliDiskTest, MetricsAndResultsAreGivenUpWhole) {
  train({"out=" + run_});
  disk_.fill_up_to(0);
  const std::string full = "No space left on device";
  expect_refusal(tessera_words({"evaluate", "--run", run_}), 1,
                 {run_ + "/evaluation.json: cannot be written: " + full});
  expect_refusal(tessera_words({"report", run_, "--out", disk_.path() + "/report.html"}), 1,
                 {disk_.path() + "/report.html: cannot be written: " + full});
  expect_refusal(tessera_words({"inspect", "step", "--checkpoint", run_ + "/step_00000004", "--out",
                                disk_.path() + "/step.h5"}),
                 1, {disk_.path() + "/step.h5", full});
  const FileTree before = file_tree(disk_.path());
  const CommandResult result = run_command(train_words({"out=" + run_, "save_every=50"}));
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("\nerror: " + run_ + "/"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find(full), std::string::npos) << result.err;
  expect_same_files(before, file_tree(disk_.path()));
}

/// Checkpoints of 100 to 200 KiB until the disk is full, on one rank and on two.
TEST_F(CliDiskTest, ACheckpointIsGivenUpWhole) {
  for (int ranks : {1, 2}) {
    std::filesystem::remove_all(run_);
    const Words words = train_words({"out=" + run_, "steps=100", "save_every=1", "keep=100"});
    const CommandResult result = run_command(ranks == 1 ? words : under_mpirun(2, words));
    EXPECT_EQ(result.code, 1);
    const Words said = said_lines(result.err, ranks > 1);
    ASSERT_EQ(said.size(), 1u) << result.err;
    EXPECT_NE(said[0].find("No space left on device"), std::string::npos) << said[0];
    const std::string latest = latest_checkpoint(run_).value();
    EXPECT_TRUE(damaged_files(latest).empty());
    for (const auto& [path, bytes] : file_tree(run_)) {
      EXPECT_EQ(path.find(".making"), std::string::npos) << path;
      EXPECT_EQ(path.find(".tmp"), std::string::npos) << path;
    }
    expect_success(tessera_words({"evaluate", "--run", run_}));
  }
}

TEST_F(CliDiskTest, ADatasetIsGivenUpWhole) {
  const std::string out = disk_.path() + "/tokens";
  expect_success(prepare_words({"out=" + out}));
  for (int64_t left : {0, 12288, 49152}) {
    disk_.fill_up_to(left);
    expect_refusal(prepare_words({"out=" + out, "seed=2"}), 1, {out});
  }
}

}  // namespace
}  // namespace tessera
