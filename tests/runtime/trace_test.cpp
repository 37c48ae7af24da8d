#include "runtime/trace.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "runtime/json.h"

namespace tessera {
namespace {

class TraceTest : public testing::Test {
 protected:
  ~TraceTest() override { std::filesystem::remove(path_); }

  Json written(const TraceHeader& header = {}) const {
    trace_.write(path_, header);
    return read_json(path_);
  }

  Trace trace_;
  const std::string path_ = testing::TempDir() + "trace_test_" + std::to_string(getpid()) + ".json";
};

TEST_F(TraceTest, RecordsNothingBeforeItStarts) {
  { const TraceRange range(trace_, "early"); }
  trace_.start();
  { const TraceRange range(trace_, "late", Track::loader, 7); }
  const Json events = written()["traceEvents"];
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["name"], "late");
  EXPECT_EQ(events[0]["tid"], static_cast<int>(Track::loader));
  EXPECT_EQ(events[0]["args"]["number"], 7);
}

TEST_F(TraceTest, WritesTimesInMicrosecondsAndTheHeader) {
  trace_.start();
  trace_.record(trace_.keep("gather \"blocks.0\""), 5'000'000'001'234, 5'000'000'002'235);
  const Json json =
      written({.rank = 2, .ranks = 3, .started_ns = 17, .clock = {{100, -40, 6}, {200, -50, 8}}});
  const Json& event = json["traceEvents"][0];
  EXPECT_EQ(event["name"], "gather \"blocks.0\"");
  EXPECT_EQ(event["pid"], 2);
  EXPECT_DOUBLE_EQ(event["ts"], 5'000'000'001.234);
  EXPECT_DOUBLE_EQ(event["dur"], 1.001);
  EXPECT_FALSE(event.contains("args"));
  EXPECT_EQ(json["tessera"], Json::parse(R"({"rank": 2, "ranks": 3, "started_ns": 17, "lost": 0,
                            "clock": [{"at_ns": 100, "offset_ns": -40, "round_trip_ns": 6},
                                      {"at_ns": 200, "offset_ns": -50, "round_trip_ns": 8}]})"));
}

TEST_F(TraceTest, KeepsTheLastRangesAndSaysHowManyItLost) {
  trace_.start();
  for (int64_t i = 0; i < Trace::kCapacity + 3; ++i) trace_.record("range", i * 1000, i * 1000 + 1);
  EXPECT_EQ(trace_.totals().at("range").ns, Trace::kCapacity);
  const Json json = written();
  EXPECT_EQ(json["tessera"]["lost"], 3);
  EXPECT_EQ(std::ssize(json["traceEvents"]), Trace::kCapacity);
  EXPECT_EQ(json["traceEvents"].front()["ts"], 3);
  EXPECT_EQ(json["traceEvents"].back()["ts"], Trace::kCapacity + 2);
}

TEST_F(TraceTest, ThreadsRecordAtOnce) {
  trace_.start();
  constexpr int64_t kRanges = 20000;
  const auto record = [this](const char* name, Track track) {
    for (int64_t i = 0; i < kRanges; ++i) trace_.record(name, 10, 12, track);
  };
  std::thread other(record, "read_batch", Track::loader);
  record("matmul", Track::compute);
  other.join();
  EXPECT_EQ(trace_.totals().size(), 1u);
  EXPECT_EQ(trace_.totals().at("matmul").ns, 2 * kRanges);
  EXPECT_EQ(trace_.totals(Track::loader).at("read_batch").ns, 2 * kRanges);
}

TEST_F(TraceTest, OwnTimeIsThatOfNoRangeInside) {
  trace_.start();
  trace_.record("add", 110, 120, Track::compute, -1, 48);
  trace_.record("add", 130, 150, Track::compute, -1, 12);
  trace_.record("read_batch", 105, 160, Track::loader);
  trace_.record("gather", 105, 155);
  trace_.record("add", 160, 161);
  trace_.record("step", 100, 200, Track::compute, 3);
  const auto totals = trace_.totals();
  EXPECT_EQ(totals.at("add").ns, 31);
  EXPECT_EQ(totals.at("add").own_ns, 31);
  EXPECT_EQ(totals.at("add").bytes, 60);
  EXPECT_EQ(totals.at("gather").ns, 50);
  EXPECT_EQ(totals.at("gather").own_ns, 20);
  EXPECT_EQ(totals.at("step").own_ns, 49);
  EXPECT_FALSE(totals.contains("read_batch"));
  EXPECT_EQ(trace_.totals(Track::loader).at("read_batch").own_ns, 55);
}

}  // namespace
}  // namespace tessera
