// cp.async: what is there when, and what must not be touched until then.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/simulated_gpu/tests/launch_driver.h"

namespace simulated_gpu {
namespace {

constexpr AccessKind kRead = AccessKind::read, kWrite = AccessKind::write;

/// A tile that a warp copies asynchronously.
class AsynchronousCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    source = arena.allocate(512);
    shadow.allocated(source, 512, timelines.next(1, "cudaMalloc"));
    shadow.touch(source, 512, kWrite, timelines.next(1, "cudaMemset"));
  }
  DrivenLaunch launch(uint32_t threads, uint32_t blocks = 1) {
    return DrivenLaunch(shadow.watch_launch(timelines.next(1, "launch kernel")), kernel, blocks, threads,
                        1024);
  }

  static uint64_t row(int lane) { return 16 * static_cast<uint64_t>(lane); }
  void issue(DrivenLaunch& run, int warp) {
    run.access(
        0, ptx::Space::global, kRead, warp, kAllLanes, 16, [&](int lane) { return source + row(lane); },
        true);
    run.access(0, ptx::Space::shared, kWrite, warp, kAllLanes, 16, row, true);
  }
  static void wait(DrivenLaunch& run, int warp) {
    for (int lane = 0; lane < 32; ++lane) run.observer().asynchronous_copy_done(warp, lane, row(lane), 16);
  }

  Arena arena{1 << 20};
  GlobalShadow shadow{arena};
  Timelines timelines;
  SomeKernel kernel{4};
  uint64_t source = 0;
};

TEST_F(AsynchronousCopy, NeedsItsWait) {
  expect_needed(
      [&](bool has_wait) {
        DrivenLaunch run = launch(32);
        issue(run, 0);
        if (has_wait) wait(run, 0);
        run.shared(1, kRead, 0, kAllLanes, 16, row);
      },
      "uninitialised: thread (0,0,0) of block (0,0,0) reads byte 0 of shared memory, which the asynchronous "
      "copy at "
      "a.cu:1 has not brought yet");
}

TEST_F(AsynchronousCopy, ABarrierIsNoWait) {
  expect_needed(
      [&](bool has_wait) {
        DrivenLaunch run = launch(64);
        issue(run, 0);
        if (has_wait) wait(run, 0);
        run.barrier();
        run.shared(1, kRead, 0, kAllLanes, 16, row);
      },
      "uninitialised: thread (0,0,0) of block (0,0,0) reads byte 0 of shared memory, which the asynchronous "
      "copy at "
      "a.cu:1 has not brought yet");
}

TEST_F(AsynchronousCopy, OfAnEarlierBlockIsForgotten) {
  {
    DrivenLaunch run = launch(32, 2);
    issue(run, 0);
    run.block(1);
    run.shared(1, kWrite, 0, kAllLanes, 16, row);
    run.shared(2, kRead, 0, kAllLanes, 16, row);
  }
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

TEST_F(AsynchronousCopy, NeedsABarrierAfterTheWaitForOtherThreads) {
  expect_needed(
      [&](bool waits_first) {
        DrivenLaunch run = launch(64);
        issue(run, 0);
        if (waits_first) wait(run, 0);
        run.barrier();
        if (!waits_first) wait(run, 0);
        run.shared(1, kRead, 1, kAllLanes, 16, row);
      },
      "race: thread (32,0,0) of block (0,0,0) reads byte 0 of shared memory, which thread (0,0,0) of block "
      "(0,0,0) "
      "wrote at a.cu:1; no barrier is between");
}

TEST_F(AsynchronousCopy, NeedsABarrierBeforeItOverwritesWhatOthersRead) {
  expect_needed(
      [&](bool has_barrier) {
        DrivenLaunch run = launch(64);
        issue(run, 0);
        wait(run, 0);
        run.barrier();
        run.shared(1, kRead, 1, kAllLanes, 16, row);
        if (has_barrier) run.barrier();
        issue(run, 0);
        wait(run, 0);
      },
      "race: thread (0,0,0) of block (0,0,0) writes byte 0 of shared memory, which thread (32,0,0) of block "
      "(0,0,0) "
      "read at a.cu:2; no barrier is between");
}

TEST_F(AsynchronousCopy, MustNotBeOverwrittenInFlight) {
  expect_needed(
      [&](bool has_wait) {
        DrivenLaunch run = launch(32);
        issue(run, 0);
        if (has_wait) wait(run, 0);
        run.shared(1, kWrite, 0, kAllLanes, 16, row);
      },
      "race: thread (0,0,0) of block (0,0,0) writes byte 0 of shared memory, which thread (0,0,0) of block "
      "(0,0,0) "
      "wrote at a.cu:1 asynchronously; the copy was not waited for");
}

}  // namespace
}  // namespace simulated_gpu
