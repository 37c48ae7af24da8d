// Operations on streams: what must be ordered, and what orders it.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/simulated_gpu/checker/operation_index.h"
#include "tests/simulated_gpu/tests/launch_driver.h"

namespace simulated_gpu {
namespace {

constexpr AccessKind kRead = AccessKind::read, kWrite = AccessKind::write;
constexpr int kHost = 0, kCompute = 1, kTransfer = 2, kThird = 3;

TEST(Operation, HappensBefore) {
  Timelines timelines;
  const auto a = timelines.next(kCompute, "a"), b = timelines.next(kCompute, "b");
  const auto c = timelines.next(kTransfer, "c"), d = timelines.next(kTransfer, "d", {a});
  EXPECT_TRUE(happens_before(*a, *b));
  EXPECT_FALSE(happens_before(*b, *a));
  EXPECT_FALSE(happens_before(*a, *a));
  EXPECT_FALSE(happens_before(*a, *c));
  EXPECT_FALSE(happens_before(*c, *a));
  EXPECT_TRUE(happens_before(*a, *d));
  EXPECT_FALSE(happens_before(*b, *d));
  EXPECT_TRUE(happens_before(*a, *timelines.next(kThird, "e", {d})));
}

TEST(VectorClock, JoinsByComponent) {
  VectorClock a, b;
  a.advance(0);
  a.advance(3);
  a.advance(3);
  b.advance(3);
  b.advance(5);
  a.join(b);
  EXPECT_EQ(a[0], 1u);
  EXPECT_EQ(a[1], 0u);
  EXPECT_EQ(a[3], 2u);
  EXPECT_EQ(a[5], 1u);
  EXPECT_EQ(a[99], 0u);
}

class StreamChecker : public ::testing::Test {
 protected:
  void SetUp() override {
    begin = timelines.next(kHost, "cudaMalloc");
    data = arena.allocate(1024);
    shadow.allocated(data, 1024, begin);
    filled = timelines.next(kCompute, "cudaMemset", {begin});
    shadow.touch(data, 1024, kWrite, filled);
  }

  void launch(AccessKind kind, const OperationPointer& operation, uint64_t first = 0) {
    DrivenLaunch run(shadow.watch_launch(operation), kernel, 1, 32);
    run.global(0, kind, 0, kAllLanes, 4,
               [&](int lane) { return data + first + 4 * static_cast<uint64_t>(lane); });
  }

  Arena arena{1 << 20};
  GlobalShadow shadow{arena};
  Timelines timelines;
  SomeKernel kernel{4};
  uint64_t data = 0;
  OperationPointer begin, filled;
};

TEST_F(StreamChecker, AMissingEventIsFoundWhateverRanFirst) {
  for (const bool has_event : {true, false})
    for (const AccessKind first : {kRead, kWrite})
      for (const AccessKind second : {kRead, kWrite}) {
        const auto a = timelines.next(kCompute, "launch a", {filled});
        const auto b = has_event ? timelines.next(kTransfer, "launch b", {a})
                                 : timelines.next(kThird, "launch b", {filled});
        launch(first, a);
        launch(second, b);
        const bool is_conflict = !has_event && (first == kWrite || second == kWrite);
        const auto reports = taken_reports();
        ASSERT_EQ(reports.size(), is_conflict ? 1u : 0u) << has_event << int(first) << int(second);
        if (is_conflict) {
          EXPECT_NE(reports[0].find("which \"launch a\""), std::string::npos) << reports[0];
        }
        filled = timelines.next(kCompute, "cudaMemset", {a, b});
        shadow.touch(data, 1024, kWrite, filled);
      }
}

TEST_F(StreamChecker, OtherBytesOfABlockAreNoConflict) {
  const auto a = timelines.next(kCompute, "launch a", {filled}),
             b = timelines.next(kTransfer, "launch b", {filled});
  launch(kWrite, a, 0);
  launch(kWrite, b, 128);
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
  launch(kWrite, timelines.next(kThird, "launch c", {a}), 0);
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

TEST_F(StreamChecker, CopiesAndLaunches) {
  const auto copy = timelines.next(kTransfer, "cudaMemcpyAsync", {filled});
  EXPECT_TRUE(shadow.touch(data + 100, 300, kRead, copy));
  launch(kWrite, timelines.next(kCompute, "launch a"), 256);
  std::vector<Report> reports = take_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].kind, ReportKind::stream);
  EXPECT_NE(
      reports[0].text.find("thread (0,0,0) of block (0,0,0) writes byte 256 of the block of 1024 bytes"),
      std::string::npos)
      << reports[0].text;
  EXPECT_NE(reports[0].text.find("which \"cudaMemcpyAsync\" read"), std::string::npos) << reports[0].text;

  EXPECT_TRUE(shadow.touch(data, 1024, kWrite, timelines.next(kThird, "ncclAllGather", {filled, copy})));
  reports = take_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].kernel, "ncclAllGather");
  EXPECT_NE(reports[0].text.find("writes byte 256"), std::string::npos) << reports[0].text;
  EXPECT_NE(reports[0].text.find("which \"launch a\" wrote"), std::string::npos) << reports[0].text;
}

TEST_F(StreamChecker, EveryOneOfSeveralReadersMustComeBefore) {
  constexpr int kReaders = 5;
  for (int missing = 1; missing <= kReaders + 1; ++missing) {
    std::vector<OperationPointer> readers, known;
    for (int stream = 1; stream <= kReaders; ++stream) {
      readers.push_back(timelines.next(stream, "reader " + std::to_string(stream), {filled}));
      launch(kRead, readers.back());
      if (stream != missing) known.push_back(readers.back());
    }
    EXPECT_EQ(taken_reports(), std::vector<std::string>{});
    launch(kWrite, timelines.next(kReaders + missing, "writer", known));
    const auto reports = taken_reports();
    ASSERT_EQ(reports.size(), missing <= kReaders ? 1u : 0u) << missing;
    if (missing <= kReaders) {
      EXPECT_NE(reports[0].find("\"reader " + std::to_string(missing) + "\""), std::string::npos)
          << reports[0];
    }
    readers.push_back(timelines.next(kReaders + missing, "nothing"));
    filled = timelines.next(kHost, "cudaMemset", readers);
    shadow.touch(data, 1024, kWrite, filled);
  }
}

TEST_F(StreamChecker, AnOperationIsInOrderWithItself) {
  const auto gemm = timelines.next(kTransfer, "cublasGemmEx", {filled});
  shadow.touch(data, 512, kRead, gemm);
  shadow.touch(data, 512, kWrite, gemm);
  const auto other = timelines.next(kThird, "launch other", {filled});
  launch(kRead, other, 768);
  shadow.touch(data + 256, 16, kRead, gemm);  // a collective may go on after others ran
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

TEST_F(StreamChecker, TouchOutsideAndUninitialised) {
  EXPECT_FALSE(shadow.touch(data + 1000, 100, kRead, timelines.next(kCompute, "cudaMemcpyAsync")));
  auto reports = taken_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("memory: reads 100 bytes"), std::string::npos) << reports[0];
  EXPECT_NE(reports[0].find("76 bytes across the end of the block of 1024 bytes"), std::string::npos)
      << reports[0];
  const uint64_t fresh = arena.allocate(10);
  shadow.allocated(fresh, 10, begin);
  shadow.touch(fresh, 7, kWrite, timelines.next(kCompute, "cudaMemcpyAsync"));
  shadow.touch(fresh, 7, kRead, timelines.next(kCompute, "cudaMemcpyAsync"));
  EXPECT_TRUE(shadow.touch(fresh, 0, kRead, timelines.next(kCompute, "cudaMemcpyAsync")));
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
  EXPECT_TRUE(shadow.touch(fresh, 10, kRead, timelines.next(kCompute, "cudaMemcpyAsync")));
  reports = taken_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("uninitialised: reads byte 7 of the block of 10 bytes"), std::string::npos)
      << reports[0];
}

TEST_F(StreamChecker, AllocationAndReleaseAreOperations) {
  const uint64_t block = arena.allocate(64);
  const auto allocation = timelines.next(kCompute, "cudaMallocAsync");
  shadow.allocated(block, 64, allocation);
  const auto early = timelines.next(kTransfer, "cudaMemsetAsync", {begin});
  shadow.touch(block, 64, kWrite, early);
  auto reports = taken_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("nothing orders it after the allocation by \"cudaMallocAsync\""),
            std::string::npos)
      << reports[0];
  shadow.released(block, 64, timelines.next(kCompute, "cudaFreeAsync"));
  reports = taken_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("nothing orders it after \"cudaMemsetAsync\""), std::string::npos) << reports[0];

  const uint64_t next = arena.allocate(64);
  const auto second = timelines.next(kCompute, "cudaMallocAsync");
  shadow.allocated(next, 64, second);
  const auto late = timelines.next(kTransfer, "cudaMemsetAsync", {second});
  shadow.touch(next, 64, kWrite, late);
  shadow.released(next, 64, timelines.next(kCompute, "cudaFreeAsync", {late}));
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

TEST_F(StreamChecker, AllocatedAgainIsUnwritten) {
  shadow.released(data, 1024, timelines.next(kCompute, "cudaFreeAsync"));
  shadow.allocated(data, 1024, timelines.next(kCompute, "cudaMallocAsync"));
  launch(kRead, timelines.next(kCompute, "launch a"));
  const auto reports = taken_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].find("uninitialised"), 0u) << reports[0];
}

TEST(OperationIndex, RenumberingKeepsOrderAndForgetsTheRest) {
  Timelines timelines;
  OperationIndex index(100, 1000);
  std::vector<OperationPointer> operations;
  std::vector<Accessor> cells(8, 0);
  for (int i = 0; i < 6; ++i) {
    operations.push_back(timelines.next(i % 2, "operation " + std::to_string(i)));
    index.begin(operations.back());
    for (int access = 0; access < 10; ++access) cells[static_cast<size_t>(i)] = accessor(index.issue(), 3);
  }
  index.begin(timelines.next(2, "reader", {operations[5]}));
  cells[6] = accessor(
      index.join(number_of(cells[0]), number_of(cells[2])));  // both on timeline 0, unordered with it
  cells[1] = 0;
  EXPECT_FALSE(index.is_renumbering_due());
  while (!index.is_renumbering_due()) index.issue();
  index.renumber({std::span<Accessor>(cells)});
  EXPECT_LE(index.next(), 8u);
  EXPECT_EQ(cells[1], 0u);
  EXPECT_EQ(cells[7], 0u);

  index.begin(timelines.next(3, "after 3 and 4", {operations[3], operations[4]}));
  const bool is_ordered[] = {true, true, true, true, true, false, true, true};
  for (size_t i = 0; i < 7; ++i)
    EXPECT_TRUE(!cells[i] || index.is_ordered(number_of(cells[i])) == is_ordered[i]) << i;
  index.begin(timelines.next(4, "after 0", {operations[0]}));
  EXPECT_FALSE(index.is_ordered(number_of(cells[6])));
  EXPECT_EQ(index.culprit(number_of(cells[6])).name, "operation 2");
  EXPECT_TRUE(index.is_ordered(number_of(cells[0])));
}

TEST(OperationIndex, ManyOperationsAreForgotten) {
  Arena arena(1 << 20);
  GlobalShadow shadow(arena);
  Timelines timelines;
  const uint64_t data = arena.allocate(256);
  shadow.allocated(data, 256, timelines.next(kCompute, "cudaMalloc"));
  const auto first = timelines.next(kTransfer, "cudaMemset", {timelines.next(kCompute, "nothing")});
  shadow.touch(data, 128, kWrite, first);
  // More than the ranges that are kept, so that renumbering happens on the way.
  for (int i = 0; i < 140000; ++i)
    shadow.touch(data + 128, 128, kWrite, timelines.next(kCompute, "cudaMemset"));
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
  shadow.touch(data, 256, kRead, timelines.next(kCompute, "cudaMemcpy"));
  const auto reports = taken_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("reads byte 0 of the block of 256 bytes"), std::string::npos) << reports[0];
}

TEST(Report, MergesByPlaceAndCounts) {
  take_reports();
  const Report report{ReportKind::race, "first", "kernel", "a.cu:7", "st.shared.f32 [%r1], %f1;"};
  add_report(report);
  Report other = report;
  other.text = "second";
  other.count = 3;
  add_report(other);
  other.source = "a.cu:8";
  add_report(other);
  const std::vector<Report> reports = take_reports();
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_EQ(reports[0].count, 4u);
  EXPECT_EQ(describe(reports[0]), "race in kernel, a.cu:7: first [st.shared.f32 [%r1], %f1;] (4 times)");
  EXPECT_EQ(describe({ReportKind::usage, "uses the default stream", "cudaMemcpy", "", ""}),
            "usage error in cudaMemcpy: uses the default stream");
  EXPECT_TRUE(take_reports().empty());
}

}  // namespace
}  // namespace simulated_gpu
