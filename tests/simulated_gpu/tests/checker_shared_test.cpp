// Shared memory: every finding with a near miss that is legal.

#include <gtest/gtest.h>

#include "tests/simulated_gpu/tests/launch_driver.h"

namespace simulated_gpu {
namespace {

using ::testing::Test;
constexpr AccessKind kRead = AccessKind::read, kWrite = AccessKind::write, kAtomic = AccessKind::atomic;

class SharedChecker : public Test {
 protected:
  DrivenLaunch launch(uint32_t threads, uint32_t blocks = 1) {
    return DrivenLaunch(shadow.watch_launch(timelines.next(1, "launch kernel")), kernel, blocks, threads,
                        1024);
  }

  static uint64_t own_word(int lane) { return 4 * static_cast<uint64_t>(lane); }
  static uint64_t next_word(int lane) { return 4 * ((static_cast<uint64_t>(lane) + 1) % 32); }
  static uint64_t first_word(int) { return 0; }

  Arena arena{1 << 20};
  GlobalShadow shadow{arena};
  Timelines timelines;
  SomeKernel kernel{8};
};

TEST_F(SharedChecker, BarrierOrdersWarps) {
  for (const bool has_barrier : {true, false}) {
    {
      DrivenLaunch run = launch(64);
      run.shared(0, kWrite, 0, kAllLanes, 4, own_word);
      if (has_barrier) run.barrier();
      run.shared(1, kRead, 1, kAllLanes, 4, own_word);
    }
    const auto reports = taken_reports();
    ASSERT_EQ(reports.size(), has_barrier ? 0u : 1u);
    if (has_barrier) continue;
    EXPECT_EQ(
        reports[0],
        "race: thread (32,0,0) of block (0,0,0) reads byte 0 of shared memory, which thread (0,0,0) of block "
        "(0,0,0) wrote at a.cu:1; no barrier is between");
  }
}

}  // namespace
}  // namespace simulated_gpu
