// Post-mortems of made-up flights: what no training under mpirun can be brought to do at will.

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include "launch/post_mortem.h"
#include "runtime/json.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

constexpr uint64_t kWorld = 1, kExperts = 2;

/// Recorders of several ranks in one process, and what their files say.
class ExamineTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }

  void start(int ranks) {
    for (int rank = 0; rank < ranks; ++rank) {
      ranks_.push_back(std::make_unique<FlightRecorder>(rank, ranks, 256, 1));
      ranks_.back()->join({kWorld, static_cast<uint32_t>(ranks), static_cast<uint32_t>(rank)});
      ranks_.back()->persist(flight_ring_path(folder_, rank));
      issued_.emplace_back();
    }
  }

  /// The rank enters its next collective of a group, and leaves it unless it stays.
  void gather(int rank, const std::string& about, int64_t count = 8, bool stays = false,
              uint64_t group = kWorld) {
    FlightRecorder& recorder = *ranks_[static_cast<size_t>(rank)];
    const FlightCollective collective{.operation = FlightOperation::all_gather,
                                      .dtype = DType::f32,
                                      .group = group,
                                      .sequence = ++issued_[static_cast<size_t>(rank)][group],
                                      .count = count,
                                      .result = 2 * count};
    recorder.enter(collective, about);
    if (!stays) recorder.done(collective, about);
  }
  void gathers(std::initializer_list<std::string> layers) {
    for (const std::string& layer : layers)
      for (size_t rank = 0; rank < ranks_.size(); ++rank) gather(static_cast<int>(rank), layer);
  }
  FlightRecorder& recorder(int rank) { return *ranks_[static_cast<size_t>(rank)]; }

  std::vector<FlightRing> rings() const {
    std::vector<std::string> problems;
    return read_flight_rings(folder_, problems);
  }
  /// As the watchdog of rank 0 sees it.
  Verdict verdict() {
    // A watchdog says so seconds after the last record; recorders place themselves on the clock to within microseconds.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    recorder(0).end(FlightEnd::hang, "");
    return examine(rings());
  }
  void expect(const Verdict& verdict, Fault fault, int rank, const std::string& about) {
    EXPECT_STREQ(name_of(verdict.fault), name_of(fault)) << verdict.sentence;
    EXPECT_EQ(verdict.rank, rank) << verdict.sentence;
    EXPECT_EQ(std::string(verdict.at.about), about) << verdict.sentence;
  }

  const TemporaryFolder temporary_;
  const std::string run_ = temporary_ / "run", folder_ = flight_folder(run_);
  std::vector<std::unique_ptr<FlightRecorder>> ranks_;
  std::vector<std::map<uint64_t, uint64_t>> issued_;
};

TEST_F(ExamineTest, FindsNothingInARunThatFinished) {
  start(2);
  gathers({"a", "b"});
  for (int rank : {0, 1}) recorder(rank).end(FlightEnd::finished, "");
  expect(examine(rings()), Fault::none, -1, "b");
}

TEST_F(ExamineTest, FindsNothingInARunAtWork) {
  start(2);
  gathers({"a", "b"});
  gather(0, "c", 8, true);
  const Verdict verdict = examine(rings());
  expect(verdict, Fault::none, -1, "c");
  EXPECT_NE(verdict.sentence.find("is at all_gather for c"), std::string::npos) << verdict.sentence;
}

TEST_F(ExamineTest, TwoRanksAreToldApartByTheirPast) {
  for (int wrong : {0, 1}) {
    ranks_.clear();
    issued_.clear();
    start(2);
    for (int step = 0; step < 3; ++step) gathers({"a", "b", "a", "c", "d"});
    gathers({"a"});
    gather(1 - wrong, "b", 8, true);
    gather(wrong, "a", 8, true);
    expect(verdict(), Fault::skipped, wrong, "b");
  }
}

TEST_F(ExamineTest, TwoRanksWithoutAPastAreBothNamed) {
  start(2);
  gather(0, "a", 8, true);
  gather(1, "b", 8, true);
  const Verdict found = verdict();
  expect(found, Fault::reordered, -1, "a");
  EXPECT_NE(found.sentence.find("rank 0 issued all_gather for a"), std::string::npos) << found.sentence;
  EXPECT_NE(found.sentence.find("rank 1 issued all_gather for b"), std::string::npos) << found.sentence;
}

TEST_F(ExamineTest, AnOldDifferenceIsFoundBehindLaterCollectives) {
  start(3);
  for (int step = 0; step < 3; ++step) gathers({"a", "b", "c"});
  for (int rank : {0, 2})
    for (const char* layer : {"a", "b", "c", "a"}) gather(rank, layer);
  for (const char* layer : {"a", "c", "a", "b"}) gather(1, layer);
  expect(verdict(), Fault::skipped, 1, "b");
}

TEST_F(ExamineTest, AChainOfWaitersLeadsToItsEnd) {
  start(3);
  gathers({"a", "b"});
  for (int rank : {1, 2}) recorder(rank).join({kExperts, 2, static_cast<uint32_t>(rank - 1)});
  gather(0, "c", 8, true);                  // waits for 1 and 2
  gather(1, "experts", 8, true, kExperts);  // waits for 2
  recorder(2).phase(FlightPhase::forward);
  expect(verdict(), Fault::slow, 2, "c");
}

TEST_F(ExamineTest, TwoGroupsInOppositeOrderAreADeadlock) {
  start(2);
  for (int rank : {0, 1}) recorder(rank).join({kExperts, 2, static_cast<uint32_t>(rank)});
  for (int step = 0; step < 2; ++step)
    for (int rank : {0, 1}) {
      gather(rank, "a");
      gather(rank, "experts", 8, false, kExperts);
    }
  gather(0, "a", 8, true);
  gather(1, "experts", 8, true, kExperts);
  const Verdict found = verdict();
  EXPECT_EQ(found.fault, Fault::reordered);
  EXPECT_NE(found.sentence.find("each waits for the other"), std::string::npos) << found.sentence;
}

TEST_F(ExamineTest, ARankWithoutARecorderIsNamed) {
  start(3);
  gathers({"a"});
  gather(0, "b", 8, true);
  gather(2, "b", 8, true);
  std::filesystem::remove(flight_ring_path(folder_, 1));
  expect(verdict(), Fault::dead, 1, "b");
}

TEST_F(ExamineTest, RanksThatAllWaitAreStuck) {
  start(2);
  gathers({"a"});
  for (int rank : {0, 1}) gather(rank, "b", 8, true);
  expect(verdict(), Fault::stuck, -1, "b");
}

TEST_F(ExamineTest, PhasesNameLoaderAndSave) {
  for (const auto& [phase, fault] : {std::pair(FlightPhase::loader, Fault::stalled_loader),
                                     std::pair(FlightPhase::save, Fault::stalled_save)}) {
    ranks_.clear();
    issued_.clear();
    start(2);
    gathers({"a"});
    gather(0, "b", 8, true);
    recorder(1).phase(phase);
    expect(verdict(), fault, 1, "b");
  }
}

TEST_F(ExamineTest, IsPrintedForPeopleAndForMachines) {
  start(2);
  gathers({"a"});
  gather(0, "b", 8, true);
  recorder(1).phase(FlightPhase::backward);
  recorder(0).end(FlightEnd::hang, "no progress");
  const std::string text = post_mortem(run_, false);
  EXPECT_TRUE(text.starts_with("rank 1 is behind, in phase backward, and did not come to all_gather for b ("))
      << text;
  EXPECT_NE(text.find("\nrank 0 of 2: process "), std::string::npos) << text;
  EXPECT_NE(text.find(" s  enter     all_gather for b (step -1, round 0, setup)"), std::string::npos) << text;
  const Json json = Json::parse(post_mortem(run_, true));
  EXPECT_EQ(json["fault"], "slow");
  EXPECT_EQ(json["rank"], 1);
  EXPECT_EQ(json["at"]["about"], "b");
  EXPECT_EQ(json["ranks"][0]["end"], "hang");
  EXPECT_EQ(json["ranks"][0]["last_words"], "no progress");
  EXPECT_NE(message_of([&] {
              post_mortem(folder_, false);
            }).find(folder_ + "/flight: no flight recorders: No such"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera
