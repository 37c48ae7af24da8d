// Faults injected into real trainings under mpirun, and what the post-mortem says of them.

#include "launch/post_mortem.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "launch/process.h"
#include "launch/watchdog.h"
#include "tests/launch/cli.h"

namespace tessera {
namespace {

struct InjectedFault {
  std::string name;
  int ranks, rank;
  std::string fault, operation, layer;
  int64_t occurrence;
  Fault expected;
  Words overrides = {};
};

void PrintTo(const InjectedFault& fault, std::ostream* out) { *out << fault.name; }

class PostMortem : public testing::TestWithParam<InjectedFault> {
 protected:
  static constexpr int64_t kWatchdogSeconds = 3;

  void SetUp() override { write_synthetic_dataset(folder_ / "data", 7); }

  CommandResult train(const InjectedFault& fault) const {
    return run_command(under_mpirun(
        fault.ranks, Words{TESSERA_FAULTY_TRAINING, folder_ / "data", run_, std::to_string(fault.rank),
                           fault.fault, fault.operation, fault.layer, std::to_string(fault.occurrence),
                           str("flight_recorder.watchdog_seconds=", kWatchdogSeconds)} +
                         fault.overrides));
  }

  void expect_verdict(const InjectedFault& fault) const;

  /// From the latest record of all ranks to the latest sign of the job.
  double seconds_to_the_end() const {
    std::vector<std::string> problems;
    int64_t record_ns = 0, alive_ns = 0;
    for (const FlightRing& ring : read_flight_rings(flight_folder(run_), problems)) {
      record_ns = std::max(record_ns, ring.records.back().time_ns);
      alive_ns = std::max(alive_ns, ring.alive_ns);
    }
    return static_cast<double>(alive_ns - record_ns) * 1e-9;
  }

  TemporaryFolder folder_;
  const std::string run_ = folder_ / "run";
};

void expect_named(const InjectedFault& fault, const std::string& sentence) {
  EXPECT_NE(sentence.find(str("rank ", fault.rank, " ")), std::string::npos) << sentence;
  EXPECT_NE(sentence.find(fault.operation), std::string::npos) << sentence;
  EXPECT_NE(sentence.find(fault.layer), std::string::npos) << sentence;
}

class PostMortemFull : public PostMortem {};

void PostMortem::expect_verdict(const InjectedFault& fault) const {
  const CommandResult job = train(fault);
  EXPECT_NE(job.code, 0) << job.err;
  const CommandResult result = run_command(tessera_words({"post-mortem", run_, "--json"}));
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = Json::parse(result.out);
  const std::string shown = json["sentence"].get<std::string>() + "\n" + job.err;
  EXPECT_EQ(json["fault"], name_of(fault.expected)) << shown;
  EXPECT_EQ(json["rank"], fault.rank) << shown;
  const bool has_place = !fault.fault.starts_with("stall") && fault.expected != Fault::failed;
  if (has_place) {
    EXPECT_EQ(json["at"]["operation"], fault.operation) << shown;
    EXPECT_NE(json["at"]["about"].get<std::string>().find(fault.layer), std::string::npos) << shown;
    expect_named(fault, json["sentence"]);
  }
  EXPECT_EQ(json["problems"].size(), 0u) << shown;
  EXPECT_EQ(json["ranks"].size(), static_cast<size_t>(fault.ranks)) << shown;
  EXPECT_LT(seconds_to_the_end(), kWatchdogSeconds + 5) << shown;

  const bool hangs = std::filesystem::exists(hang_report_path(flight_folder(run_)));
  if (!hangs) return;
  EXPECT_EQ(job.code, kExitHang) << shown;
  const std::string report = bytes_of_file(hang_report_path(flight_folder(run_)));
  EXPECT_NE(job.err.find(report), std::string::npos) << "stderr holds the report " << report << job.err;
  EXPECT_NE(report.find(str("rank ", fault.rank, " ")), std::string::npos) << report;
  if (has_place) expect_named(fault, report);
}

TEST_P(PostMortem, NamesRankOperationAndLayer) { expect_verdict(GetParam()); }
TEST_P(PostMortemFull, NamesRankOperationAndLayer) { expect_verdict(GetParam()); }

std::string name_of_case(const testing::TestParamInfo<InjectedFault>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Sample, PostMortem,
                         testing::Values(InjectedFault{"Skipped", 3, 1, "skip", "all_gather",
                                                       "blocks.1.attention", 7, Fault::skipped},
                                         InjectedFault{"Slow", 2, 1, "slow", "all_to_all",
                                                       "blocks.0.feed_forward", 3, Fault::slow}),
                         name_of_case);

// Parameters are gathered twice per step, forward and backward, and one gradient exchange follows each backward pass.
INSTANTIATE_TEST_SUITE_P(
    Faults, PostMortemFull,
    testing::Values(
        InjectedFault{"SkippedForward", 2, 1, "skip", "all_gather", "blocks.0.feed_forward", 6,
                      Fault::skipped},
        InjectedFault{"SkippedBackward", 3, 0, "skip", "all_gather", "blocks.1.attention", 9, Fault::skipped},
        InjectedFault{"SkippedExchange", 4, 2, "skip", "all_to_all", "blocks.1.feed_forward", 3,
                      Fault::skipped},
        InjectedFault{"SkippedEmbedding", 4, 3, "skip", "all_gather", "embedding", 4, Fault::skipped},
        InjectedFault{"Extra", 3, 2, "extra", "all_gather", "blocks.0.attention", 8, Fault::extra},
        InjectedFault{"ReorderedForward", 3, 1, "reorder", "all_gather", "blocks.0.attention", 6,
                      Fault::reordered},
        InjectedFault{"ReorderedOfTwo", 2, 0, "reorder", "all_gather", "blocks.1.attention", 8,
                      Fault::reordered},
        InjectedFault{"ReorderedExchange", 4, 3, "reorder", "all_to_all", "blocks.0.attention", 3,
                      Fault::reordered},
        InjectedFault{"ResizedGather", 3, 2, "resize", "all_gather", "blocks.0.attention", 6, Fault::resized},
        InjectedFault{"ResizedGatherOfTwo", 2, 1, "resize", "all_gather", "blocks.1.feed_forward", 7,
                      Fault::resized},
        InjectedFault{"ResizedExchange", 4, 1, "resize", "all_to_all", "blocks.1.attention", 4,
                      Fault::resized},
        InjectedFault{"ResizedExchangeOfTwo", 2, 0, "resize", "all_to_all", "embedding", 4, Fault::resized},
        InjectedFault{"SlowForward", 4, 2, "slow", "all_gather", "blocks.1.feed_forward", 6, Fault::slow},
        InjectedFault{"SlowBackward", 3, 0, "slow", "all_gather", "blocks.0.attention", 7, Fault::slow},
        InjectedFault{"SlowExchange", 2, 0, "slow", "all_to_all", "head", 5, Fault::slow},
        InjectedFault{"KilledForward", 3, 1, "kill", "all_gather", "blocks.1.attention", 6, Fault::dead},
        InjectedFault{"KilledBackward", 2, 0, "kill", "all_gather", "blocks.0.feed_forward", 9, Fault::dead},
        InjectedFault{"KilledExchange", 4, 3, "kill", "all_to_all", "blocks.0.feed_forward", 2, Fault::dead},
        InjectedFault{"ExitedForward", 4, 0, "exit", "all_gather", "embedding", 6, Fault::dead},
        InjectedFault{"SuspendedForward", 3, 2, "stop", "all_gather", "blocks.0.attention", 8, Fault::dead},
        InjectedFault{"SuspendedExchange", 2, 1, "stop", "all_to_all", "blocks.1.attention", 3, Fault::dead},
        InjectedFault{"ThrewForward", 3, 1, "throw", "all_gather", "blocks.1.feed_forward", 6, Fault::failed},
        InjectedFault{"StalledLoader", 2, 1, "stall_read", "all_gather", "embedding", 6,
                      Fault::stalled_loader},
        InjectedFault{"StalledLoaderOfFour", 4, 2, "stall_read", "all_gather", "embedding", 9,
                      Fault::stalled_loader},
        InjectedFault{"StalledSave",
                      2,
                      0,
                      "stall_write",
                      "all_gather",
                      "embedding",
                      4,
                      Fault::stalled_save,
                      {"save_every=5"}},
        InjectedFault{"StalledSaveOfThree",
                      3,
                      2,
                      "stall_write",
                      "all_gather",
                      "embedding",
                      4,
                      Fault::stalled_save,
                      {"save_every=5"}}),
    name_of_case);

}  // namespace
}  // namespace tessera
