// The gate of resilience, over real processes: a rank is killed inside every phase of a step and of a save, files are damaged,
// disks are full or read-only; the run goes on from a complete checkpoint and ends with the bits of a run that nothing
// happened to.  `make verify-faults` runs it whole; a plain test run takes a sample.

#include <cstdlib>
#include <iostream>
#include <random>

#include "parallel/checkpoint.h"
#include "tests/launch/cli.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_disk.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

class FaultsTest : public CliTest {
 protected:
  static auto result(const std::string& run) {
    return std::pair(losses(run), checkpoint_bits(latest_checkpoint(run).value()));
  }
  Words faulty_words(const std::string& out) const {
    Words words = train_words(settings_ + Words{"out=" + out});
    words[0] = TESSERA_FAULTY_PROGRAM;
    return words;
  }
  /// The command ends with code 1 and one error, which holds all parts.
  static void expect_one_error(const Words& words, const Words& parts) {
    const CommandResult result = run_command(words);
    EXPECT_EQ(result.code, 1) << result.err;
    Words errors = said_lines(result.err, true);
    std::erase_if(errors, [](const auto& line) { return line.find("error: ") == std::string::npos; });
    ASSERT_EQ(errors.size(), 1u) << result.err;
    for (const std::string& part : parts) EXPECT_NE(errors[0].find(part), std::string::npos) << errors[0];
  }
  /// Every trace of a save that did not end.
  static Words hidden_entries(const std::string& run) {
    Words names;
    for (const auto& entry : fs::directory_iterator(run))
      if (entry.path().filename().string()[0] == '.') names.push_back(entry.path().filename());
    return names;
  }

  const Words settings_{"steps=8", "save_every=2", "keep=2", "loader.micro_batches=4"};
};

/// Kills of one rank by the program of tests/faults/points.cpp.
class VerifyFaults : public FaultsTest {
 protected:
  /// How often each rank of a whole run reaches each phase.
  using Points = std::vector<std::map<std::string, int64_t>>;

  void verify(uint64_t seed, int trials, int most_ranks) {
    std::cout << "seed " << seed << ", " << trials << " trials\n";
    std::map<int, Points> points;
    for (int ranks = 2; ranks <= most_ranks; ++ranks) points[ranks] = count_points(ranks);
    std::mt19937_64 bits(seed);
    const auto draw = [&](int64_t least, int64_t most) {
      return least + static_cast<int64_t>(bits() % static_cast<uint64_t>(most - least + 1));
    };
    for (int trial = 0; trial < trials && !HasFailure(); ++trial) {
      const auto ranks = static_cast<int>(draw(2, most_ranks));
      std::vector<std::pair<int, std::string>>
          places;  // where ranks reach the phase; all phases come in turn
      const std::string phase = kPhases[(seed + 3 * static_cast<uint64_t>(trial)) % kPhases.size()];
      for (int rank = 0; rank < ranks; ++rank)
        if (points[ranks][static_cast<size_t>(rank)].at(phase) > 0) places.emplace_back(rank, phase);
      ASSERT_FALSE(places.empty()) << phase;
      const int rank = places[static_cast<size_t>(draw(0, std::ssize(places) - 1))].first;
      kill_at(ranks, rank, phase, draw(1, points[ranks][static_cast<size_t>(rank)].at(phase)),
              static_cast<int>(draw(1, most_ranks)));
    }
  }

  const Words kPhases{"forward", "backward", "optimizer", "write", "sync", "checksum", "publish", "remove"};

  /// A whole run with the same program; the first one is what all others are compared with.
  Points count_points(int ranks) {
    const std::string out = folder_ / str("whole_", ranks), folder = folder_ / str("points_", ranks);
    fs::create_directory(folder);
    expect_success(Words{"env", "TESSERA_FAULT=count:" + folder} + under_mpirun(ranks, faulty_words(out)));
    if (expected_.first.empty()) expected_ = result(out);
    EXPECT_TRUE(result(out) == expected_) << ranks;
    Points points(static_cast<size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) {
      std::ifstream in(folder + "/" + std::to_string(rank));
      int64_t count = 0;
      for (std::string phase; in >> phase >> count;) points[static_cast<size_t>(rank)][phase] = count;
    }
    return points;
  }

  void kill_at(int ranks, int rank, const std::string& phase, int64_t number, int ranks_after) {
    const std::string what = str(rank, " ", phase, " ", number);
    SCOPED_TRACE(str("rank ", what, " of ", ranks, ", then on ", ranks_after));
    fs::remove_all(out_);
    const std::string hits = folder_ / "hits";
    fs::remove_all(hits);
    fs::create_directory(hits);
    const CommandResult killed =
        run_command(Words{"env", str("TESSERA_FAULT=kill:", hits, ":", rank, ":", phase, ":", number)} +
                    under_mpirun(ranks, faulty_words(out_)));
    EXPECT_EQ(bytes_of_file(hits + "/hit"), what) << killed.err;
    EXPECT_EQ(killed.code, 128 + SIGKILL) << killed.err;
    for (const std::string& checkpoint : checkpoints_in(out_))
      EXPECT_TRUE(damaged_files(checkpoint).empty()) << checkpoint;
    const std::optional<std::string> latest = latest_checkpoint(out_);

    const CommandResult again = run_command(under_mpirun(ranks_after, faulty_words(out_)));
    EXPECT_EQ(again.code, 0) << again.err;
    EXPECT_EQ(again.err.find("resumed from " + latest.value_or("")) != std::string::npos, latest.has_value())
        << again.err;
    EXPECT_TRUE(result(out_) == expected_);
    EXPECT_EQ(hidden_entries(out_), Words{});
    EXPECT_GE(checkpoints_in(out_).size(), 2u);  // three when it died before the last removal
  }

  std::pair<std::vector<double>, std::map<std::string, std::vector<float>>> expected_;
};

TEST_F(VerifyFaults, Sample) { verify(3, 4, 2); }  // write, publish, backward, sync

TEST_F(VerifyFaults, ASupervisedRunEnds) {
  const std::string hits = folder_ / "hits";
  fs::create_directory(hits);
  // In the sixth step of a start: at least the checkpoint before the last is published then, so three starts are enough.
  const int64_t number = count_points(2)[1].at("optimizer") * 5 / 8 + 1;
  expect_success(Words{"env", str("TESSERA_FAULT=kill:", hits, ":1:optimizer:", number)} +
                 tessera_words({"supervise", "--restarts", "2", "--backoff", "0", "--"}) +
                 under_mpirun(2, faulty_words(out_)));
  EXPECT_EQ(bytes_of_file(hits + "/hit"), str("1 optimizer ", number));
  EXPECT_TRUE(result(out_) == expected_);
}

class VerifyFaultsFull : public VerifyFaults {};

TEST_F(VerifyFaultsFull, AHundredKills) {
  const char* seed = std::getenv("TESSERA_SEED");
  verify(seed ? std::strtoull(seed, nullptr, 10) : 1, 100, 4);
}

/// Damage to files and disks.
class DamageTest : public FaultsTest {
 protected:
  void SetUp() override {
    FaultsTest::SetUp();
    expect_success(train_words(settings_ + Words{"out=" + whole_}));
    expect_success(under_mpirun(2, train_words(settings_ + Words{"out=" + half_, "stop_at=4"})));
  }
  void expect_goes_on(const std::string& out, const Words& more = {}) const {
    expect_success(train_words(settings_ + Words{"out=" + out} + more));
    EXPECT_TRUE(result(out) == result(whole_));
  }

  const std::string whole_ = folder_ / "whole", half_ = folder_ / "half";
};

TEST_F(DamageTest, ADamagedCheckpointIsRefusedOrSetAside) {
  const std::string shard = "/rank_00001.h5", manifest = "/manifest.json";
  const auto flip = [](const std::string& path) {
    std::string bytes = bytes_of_file(path);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 16);
    write_file(path, bytes);
  };
  const auto cut = [](const std::string& path) { fs::resize_file(path, fs::file_size(path) / 2); };
  const std::vector<std::pair<std::string, std::function<void(const std::string&)>>> damages{
      {shard, flip},
      {shard, cut},
      {shard, [](const std::string& path) { fs::remove(path); }},
      {manifest, cut}};
  for (const auto& [file, damage] : damages) {
    fs::remove_all(out_);
    fs::copy(half_, out_, fs::copy_options::recursive);
    const std::string checkpoint = out_ + "/step_00000004";
    damage(checkpoint + file);
    expect_refusal(train_words(settings_), 1, {checkpoint + file});
    const FileTree damaged = file_tree(checkpoint);
    expect_goes_on(out_, {"damaged_checkpoint=set_aside"});
    EXPECT_TRUE(file_tree(out_ + "/damaged_step_00000004") == damaged);
  }
}

TEST_F(DamageTest, AReadOnlyFolderIsRefusedAndLosesNothing) {
  const TinyDisk disk(folder_ / "disk", 4096);
  if (!disk.failure().empty()) GTEST_SKIP() << "no small file system can be mounted: " << disk.failure();
  const std::string run = disk.path() + "/run";
  fs::copy(half_, run, fs::copy_options::recursive);
  disk.refuse_writing();
  for (int ranks : {1, 2}) {
    const Words words = train_words(settings_ + Words{"out=" + run});
    const FileTree before = file_tree(run);
    expect_one_error(ranks == 1 ? words : under_mpirun(ranks, words), {run + "/", "Read-only file system"});
    EXPECT_TRUE(file_tree(run) == before);
  }
  disk.allow_writing();
  expect_goes_on(run);
}

TEST_F(DamageTest, AFullDiskLosesNothing) {
  const TinyDisk disk(folder_ / "disk", 4096);
  if (!disk.failure().empty()) GTEST_SKIP() << "no small file system can be mounted: " << disk.failure();
  const std::string run = disk.path() + "/run";
  fs::copy(half_, run, fs::copy_options::recursive);
  disk.fill_up_to(60 << 10);  // enough for metrics, too little for a checkpoint
  const FileTree before = file_tree(run + "/step_00000004");
  for (int ranks : {1, 2}) {
    const Words words = train_words(settings_ + Words{"out=" + run});
    expect_one_error(ranks == 1 ? words : under_mpirun(ranks, words), {run + "/", "No space left on device"});
    EXPECT_TRUE(file_tree(run + "/step_00000004") == before);
    EXPECT_EQ(hidden_entries(run), Words{});
  }
  fs::remove(disk.path() + "/filling");
  expect_goes_on(run);
}

}  // namespace
}  // namespace tessera
