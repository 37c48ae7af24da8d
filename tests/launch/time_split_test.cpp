#include "launch/time_split.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr auto kMessages = Track::communication;

/// A trace whose ranges end in the order of the list.
TraceFile trace_of_ranges(const std::vector<RecordedRange>& ranges, int64_t lost = 0) {
  TraceFile trace;
  trace.ranges = ranges;  // names are literals
  trace.lost = lost;
  return trace;
}

RecordedRange range(const char* name, int64_t begin, int64_t end, Track track = Track::compute,
                    int64_t number = -1) {
  return {name, begin, end, number, -1, track};
}
RecordedRange step(int64_t number, int64_t begin, int64_t end) {
  return range("step", begin, end, Track::compute, number);
}

/// Expected nanoseconds by name; parts that are not named must be 0.
void expect_split(const TimeSplit& split, const std::map<std::string, int64_t>& expected) {
  for (Part part : kParts)
    EXPECT_EQ(split.of(part), expected.contains(name_of(part)) ? expected.at(name_of(part)) : 0)
        << name_of(part);
}

TEST(TimeSplit, EveryMomentBelongsToTheInnermostRange) {
  const auto splits = split_steps(trace_of_ranges({
      range("wait_for_batch", 110, 120),
      range("cast", 131, 134),                 // a kernel inside of a start
      range("start_collective", 135, 139),     // belongs to the gather around it
      range("gather_parameters", 130, 140),    //
      range("wait_for_collective", 141, 149),  //
      range("wait_for_parameters", 140, 150),  //
      range("matmul", 150, 180),               //
      range("wait_for_collective", 180, 185),  // of no gather: another collective
      range("add", 187, 189),                  // a sum inside of the wait for gradients
      range("wait_for_gradients", 185, 190),   //
      range("adamw", 190, 195),                //
      range("wait_for_collective", 196, 197),  // belongs to the checkpoint around it
      range("checkpoint", 195, 199),           //
      step(7, 100, 200),
  }));
  ASSERT_EQ(splits.size(), 1u);
  const TimeSplit& split = splits.at(7);
  expect_split(split, {{"compute", 3 + 30 + 2},
                       {"optimizer", 5},
                       {"gather", 10 - 3 + 10},
                       {"gradients", 3},
                       {"other", 5},
                       {"loader", 10},
                       {"checkpoint", 4},
                       {"idle", 10 + 10 + 1}});
  EXPECT_EQ(split.total(), 100);
  EXPECT_EQ(split.steps, 1);
}

TEST(TimeSplit, EveryKindOfCommunicationHasItsPart) {
  const std::map<const char*, const char*> parts{
      {"gather_parameters", "gather"},     {"wait_for_parameters", "gather"},
      {"exchange_gradients", "gradients"}, {"wait_for_gradients", "gradients"},
      {"expert_dispatch", "dispatch"},     {"wait_for_dispatch", "dispatch"},
      {"expert_combine", "combine"},       {"wait_for_combine", "combine"},
      {"exchange_replicas", "replicas"},   {"wait_for_replicas", "replicas"}};
  for (const auto& [name, part] : parts)
    expect_split(split_steps(trace_of_ranges({range(name, 2, 5), step(0, 0, 10)})).at(0),
                 {{part, 3}, {"idle", 7}});
}

TEST(TimeSplit, MessagesBehindComputationAreCounted) {
  const auto splits = split_steps(trace_of_ranges({
      range("gather_parameters", 10, 12),
      range("exchange_gradients", 20, 22),
      range("matmul", 30, 60),
      range("wait_for_parameters", 60, 65),
      range("gather blocks.0", 11, 65, kMessages),  // 30 of 54 behind the product
      range("matmul", 70, 80),
      range("adamw", 80, 85),
      range("wait_for_gradients", 85, 90),
      range("reduce blocks.0", 21, 90, kMessages),  // 30 and 15
      step(0, 0, 100),
  }));
  const TimeSplit& split = splits.at(0);
  EXPECT_EQ(split.overlapped_of(Part::gather), 30);
  EXPECT_EQ(split.overlapped_of(Part::gradients), 45);
  EXPECT_EQ(split.overlapped_by_any_ns, 45);  // both at once count once
  expect_split(split, {{"gather", 7}, {"gradients", 7}, {"compute", 40}, {"optimizer", 5}, {"idle", 41}});
}

TEST(TimeSplit, MessagesOfOneKindThatOverlapCountOnce) {
  const auto splits = split_steps(trace_of_ranges({
      range("gather_parameters", 0, 4),
      range("matmul", 10, 20),
      range("a", 1, 15, kMessages),
      range("b", 3, 18, kMessages),
      step(0, 0, 20),
  }));
  EXPECT_EQ(splits.at(0).overlapped_of(Part::gather), 8);
}

TEST(TimeSplit, RangesOfOtherThreadsAndOutsideOfStepsDoNotCount) {
  const auto splits = split_steps(trace_of_ranges({
      range("matmul", 0, 50),
      range("read_batch", 100, 200, Track::loader),
      step(3, 100, 200),
      range("matmul", 200, 300),
      range("write_checkpoint", 300, 350, Track::checkpoint),
      step(4, 300, 400),
  }));
  ASSERT_EQ(splits.size(), 2u);
  expect_split(splits.at(3), {{"idle", 100}});
  expect_split(splits.at(4), {{"idle", 100}});
}

TEST(TimeSplit, StepsThatLostRangesAreLeftOut) {
  // The oldest range that is left ends at 150: what ended before it is gone, and with it parts of step 0.
  const auto splits = split_steps(trace_of_ranges(
      {range("matmul", 140, 150), step(0, 100, 200), range("matmul", 210, 290), step(1, 200, 300)}, 5));
  ASSERT_EQ(splits.size(), 1u);
  expect_split(splits.at(1), {{"compute", 80}, {"idle", 20}});
}

TEST(TimeSplit, RangesThatDoNotNestStillSumToTheStep) {
  const auto splits = split_steps(trace_of_ranges(
      {range("matmul", 10, 40), range("wait_for_batch", 20, 60), range("adamw", 50, 130), step(0, 0, 100)}));
  expect_split(splits.at(0), {{"compute", 10}, {"loader", 30}, {"optimizer", 50}, {"idle", 10}});
  EXPECT_EQ(splits.at(0).total(), 100);
}

}  // namespace
}  // namespace tessera
