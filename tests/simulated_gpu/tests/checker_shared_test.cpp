// Shared memory: every finding with a near miss that is legal.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

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

TEST_F(SharedChecker, ReadOfAnotherWarpsWriteNeedsABarrier) {
  expect_needed(
      [&](bool has_barrier) {
        DrivenLaunch run = launch(64);
        run.shared(0, kWrite, 0, kAllLanes, 4, own_word);
        if (has_barrier) run.barrier();
        run.shared(1, kRead, 1, kAllLanes, 4, own_word);
      },
      "race: thread (32,0,0) of block (0,0,0) reads byte 0 of shared memory, which thread (0,0,0) of block "
      "(0,0,0) "
      "wrote at a.cu:1; no barrier is between");
}

TEST_F(SharedChecker, WriteOverAnotherWarpsReadNeedsABarrier) {
  expect_needed(
      [&](bool has_barrier) {
        DrivenLaunch run = launch(64);
        run.shared(0, kWrite, 0, kAllLanes, 4, own_word);
        run.barrier();
        run.shared(1, kRead, 1, kAllLanes, 4, own_word);
        if (has_barrier) run.barrier();
        run.shared(2, kWrite, 0, 1u << 5, 4, own_word);
      },
      "race: thread (5,0,0) of block (0,0,0) writes byte 20 of shared memory, which thread (37,0,0) of block "
      "(0,0,0) "
      "read at a.cu:2; no barrier is between");
}

TEST_F(SharedChecker, AReaderOfAnotherWarpIsNotForgottenForALaterOne) {
  expect_needed(
      [&](bool has_barrier) {
        DrivenLaunch run = launch(96);
        run.shared(0, kWrite, 0, 1, 4, first_word);
        run.barrier();
        run.shared(1, kRead, 1, kAllLanes, 4, first_word);
        run.shared(2, kRead, 2, kAllLanes, 4, first_word);
        run.shared(2, kRead, 0, kAllLanes, 4, first_word);
        run.warp_synchronises(0);
        if (has_barrier) run.barrier();
        run.shared(3, kWrite, 0, 1, 4, first_word);
      },
      "race: thread (0,0,0) of block (0,0,0) writes byte 0 of shared memory, which several lanes of warp 2 "
      "read at "
      "a.cu:3; no barrier is between");
}

TEST_F(SharedChecker, LanesOfAWarpNeedAWarpSynchronisation) {
  expect_needed(
      [&](bool has_synchronisation) {
        DrivenLaunch run = launch(32);
        run.shared(0, kWrite, 0, kAllLanes, 4, own_word);
        if (has_synchronisation) run.warp_synchronises(0);
        run.shared(1, kRead, 0, kAllLanes, 4, next_word);
      },
      "race: thread (0,0,0) of block (0,0,0) reads byte 4 of shared memory, which thread (1,0,0) of block "
      "(0,0,0) "
      "wrote at a.cu:1; no __syncwarp or barrier is between");
}

TEST_F(SharedChecker, ABroadcastNeedsAWarpSynchronisationAfterTheWrite) {
  expect_needed(
      [&](bool has_synchronisation) {
        DrivenLaunch run = launch(32);
        run.shared(0, kWrite, 0, 1, 4, first_word);
        if (has_synchronisation) run.warp_synchronises(0);
        run.shared(1, kRead, 0, kAllLanes, 4, first_word);
      },
      "race: thread (1,0,0) of block (0,0,0) reads byte 0 of shared memory, which thread (0,0,0) of block "
      "(0,0,0) "
      "wrote at a.cu:1; no __syncwarp or barrier is between");
}

TEST_F(SharedChecker, ReadersBeforeASynchronisationDoNotCountAgainstTheNextReader) {
  for (const uint32_t synchronised : {kAllLanes, uint32_t{0xff}}) {
    DrivenLaunch run = launch(32);
    run.shared(0, kWrite, 0, 0xff, 4, own_word);
    run.warp_synchronises(0);
    const auto backwards = [](int lane) { return 28 - 4 * static_cast<uint64_t>(lane); };
    run.shared(1, kRead, 0, 0xff, 4, backwards);
    run.warp_synchronises(0, synchronised);
    run.shared(2, kRead, 0, 0xff, 4, own_word);
    run.shared(3, kWrite, 0, 0xff, 4, own_word);
  }
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

TEST_F(SharedChecker, ReadersOfAWarpNeedASynchronisationBeforeTheWriter) {
  expect_needed(
      [&](bool has_synchronisation) {
        DrivenLaunch run = launch(32);
        run.shared(0, kWrite, 0, 1, 4, first_word);
        run.warp_synchronises(0);
        run.shared(1, kRead, 0, kAllLanes, 4, first_word);
        if (has_synchronisation) run.warp_synchronises(0);
        run.shared(2, kWrite, 0, 1, 4, first_word);
      },
      "race: thread (0,0,0) of block (0,0,0) writes byte 0 of shared memory, which several lanes of warp 0 "
      "read at "
      "a.cu:2; no __syncwarp or barrier is between");
}

TEST_F(SharedChecker, AWarpSynchronisationDoesNotOrderWarps) {
  {
    DrivenLaunch run = launch(64);
    run.shared(0, kWrite, 0, kAllLanes, 4, own_word);
    run.warp_synchronises(0);
    run.warp_synchronises(1);
    run.shared(1, kRead, 1, kAllLanes, 4, own_word);
  }
  EXPECT_EQ(taken_reports().size(), 1u);
}

TEST_F(SharedChecker, PartialWarpSynchronisationsOrderTheirLanesOnly) {
  constexpr uint32_t kLowHalf = 0xffff, kMiddle = 0xffff00;
  const auto play = [&](std::vector<uint32_t> masks, int reader) {
    {
      DrivenLaunch run = launch(32);
      run.shared(0, kWrite, 0, 1, 4, first_word);
      for (const uint32_t mask : masks) run.warp_synchronises(0, mask);
      run.shared(1, kRead, 0, 1u << reader, 4, first_word);
    }
    return taken_reports().size();
  };
  EXPECT_EQ(play({kLowHalf}, 15), 0u);
  EXPECT_EQ(play({kLowHalf}, 16), 1u);
  EXPECT_EQ(play({kLowHalf, kMiddle}, 20), 0u);  // lane 8 tells lane 20
  EXPECT_EQ(play({kMiddle, kLowHalf}, 20), 1u);  // in this order it cannot
  EXPECT_EQ(play({kLowHalf, kMiddle}, 24), 1u);
}

TEST_F(SharedChecker, NamedBarriersOrderTheirWarpsOnly) {
  const auto play = [&](std::vector<std::vector<uint32_t>> barriers, int reader) {
    {
      DrivenLaunch run = launch(128);
      run.shared(0, kWrite, 0, kAllLanes, 4, own_word);
      for (const auto& warps : barriers) run.barrier_of(warps);
      run.shared(1, kRead, reader, kAllLanes, 4, own_word);
    }
    return taken_reports().size();
  };
  const std::vector<uint32_t> first_two = {kAllLanes, kAllLanes, 0, 0}, middle = {0, kAllLanes, kAllLanes, 0};
  EXPECT_EQ(play({first_two}, 1), 0u);
  EXPECT_EQ(play({first_two}, 2), 1u);
  EXPECT_EQ(play({first_two, middle}, 2), 0u);
  EXPECT_EQ(play({middle, first_two}, 2), 1u);
  EXPECT_EQ(play({first_two, middle}, 3), 1u);
}

TEST_F(SharedChecker, AThreadIsInOrderWithItself) {
  {
    DrivenLaunch run = launch(64);
    for (int warp = 0; warp < 2; ++warp) {
      const auto place = [warp](int lane) { return static_cast<uint64_t>(128 * warp + 4 * lane); };
      run.shared(0, kWrite, warp, kAllLanes, 4, place);
      run.shared(1, kRead, warp, kAllLanes, 4, place);
      run.shared(2, kWrite, warp, kAllLanes, 4, place);
      run.shared(3, kWrite, warp, 0x80, 4, place);
      run.shared(4, kRead, warp, 0x80, 4, place);
    }
  }
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

TEST_F(SharedChecker, LanesThatWriteTheSameWordRace) {
  {
    DrivenLaunch run = launch(32);
    run.shared(0, kWrite, 0, 3, 4, first_word);
  }
  EXPECT_EQ(taken_reports().size(), 1u);
  {
    DrivenLaunch run = launch(32);
    run.shared(0, kWrite, 0, 3, 2,
               [](int lane) { return static_cast<uint64_t>(2 * lane); });  // halves of one word
    run.shared(1, kWrite, 0, 3, 1,
               [](int lane) { return static_cast<uint64_t>(8 + lane); });  // bytes of one word
  }
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

TEST_F(SharedChecker, ReadsWhatNobodyWrote) {
  {
    DrivenLaunch run = launch(32);
    run.shared(0, kWrite, 0, 0x7fffffff, 4, own_word);
    run.shared(1, kRead, 0, kAllLanes, 4, own_word);
  }
  EXPECT_EQ(taken_reports(),
            std::vector<std::string>{"uninitialised: thread (31,0,0) of block (0,0,0) reads byte 124 of "
                                     "shared memory, which nobody wrote"});
}

TEST_F(SharedChecker, HalfAWordIsNotAWord) {
  {
    DrivenLaunch run = launch(32);
    run.shared(0, kWrite, 0, 1, 2, first_word);
    run.shared(1, kRead, 0, 1, 4, first_word);
  }
  EXPECT_EQ(taken_reports(),
            std::vector<std::string>{"uninitialised: thread (0,0,0) of block (0,0,0) reads byte 2 of "
                                     "shared memory, which nobody wrote"});
}

TEST_F(SharedChecker, ABlockDoesNotInheritFromAnother) {
  {
    DrivenLaunch run = launch(32, 2);
    run.shared(0, kWrite, 0, kAllLanes, 4, own_word);
    run.block(1);
    run.shared(1, kRead, 0, kAllLanes, 4, own_word);
  }
  EXPECT_EQ(taken_reports(),
            std::vector<std::string>{"uninitialised: thread (0,0,0) of block (1,0,0) reads byte 0 of "
                                     "shared memory, which nobody wrote"});
  {
    DrivenLaunch run = launch(64, 2);
    run.shared(0, kWrite, 0, kAllLanes, 4, own_word);
    run.block(1);
    run.shared(0, kWrite, 1, kAllLanes, 4, own_word);  // nor its conflicts
  }
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

TEST_F(SharedChecker, AccessesStayInTheWindowAndAligned) {
  uint32_t allowed = 0;
  {
    DrivenLaunch run = launch(32);
    allowed = run.shared(0, kWrite, 0, kAllLanes, 4,
                         [](int lane) { return static_cast<uint64_t>(904 + 4 * lane); });
    EXPECT_EQ(run.shared(1, kWrite, 0, 3, 16, [](int lane) { return static_cast<uint64_t>(16 + 24 * lane); }),
              1u);
    EXPECT_EQ(run.shared(2, kWrite, 0, 1, 8, [](int) { return uint64_t{512}; }), 1u);
  }
  EXPECT_EQ(allowed, 0x3fffffffu);
  EXPECT_EQ(taken_reports(),
            (std::vector<std::string>{
                "memory: thread (30,0,0) of block (0,0,0) writes 4 bytes at shared address 0x400: "
                "outside shared memory of the block, 1024 bytes",
                "memory: thread (1,0,0) of block (0,0,0) writes 16 bytes at shared address 0x28: "
                "not a multiple of 16"}));
}

TEST_F(SharedChecker, AtomicsNeedNoOrderAmongEachOther) {
  expect_needed(
      [&](bool has_barrier) {
        DrivenLaunch run = launch(64);
        run.shared(0, kWrite, 0, 1, 4, first_word);
        run.barrier();
        run.shared(1, kAtomic, 0, kAllLanes, 4, first_word);
        run.shared(1, kAtomic, 1, kAllLanes, 4, first_word);
        if (has_barrier) run.barrier();
        run.shared(2, kRead, 1, 1, 4, first_word);
      },
      "race: thread (32,0,0) of block (0,0,0) reads byte 0 of shared memory, which several warps of the same "
      "block "
      "atomically changed at a.cu:2; no barrier is between");
}

TEST_F(SharedChecker, AtomicsNeedOrderWithPlainWrites) {
  expect_needed(
      [&](bool has_barrier) {
        DrivenLaunch run = launch(64);
        run.shared(0, kWrite, 0, 1, 4, first_word);
        if (has_barrier) run.barrier();
        run.shared(1, kAtomic, 1, 1, 4, first_word);
      },
      "race: thread (32,0,0) of block (0,0,0) atomically changes byte 0 of shared memory, which thread "
      "(0,0,0) of "
      "block (0,0,0) wrote at a.cu:1; no barrier is between");
}

TEST_F(SharedChecker, WindowsOfThreadsAndParameters) {
  kernel.change().local_bytes = 16;
  kernel.change().parameter_bytes = 8;
  {
    DrivenLaunch run = launch(32);
    const auto at = [](uint64_t address) { return [address](int) { return address; }; };
    EXPECT_EQ(run.access(0, ptx::Space::local, kWrite, 0, 1, 4, at(12)), 1u);
    EXPECT_EQ(run.access(1, ptx::Space::local, kWrite, 0, 1, 4, at(16)), 0u);
    EXPECT_EQ(run.access(2, ptx::Space::parameter, kRead, 0, 1, 8, at(0)), 1u);
    EXPECT_EQ(run.access(3, ptx::Space::parameter, kRead, 0, 1, 4, at(8)), 0u);
  }
  EXPECT_EQ(taken_reports(),
            (std::vector<std::string>{
                "memory: thread (0,0,0) of block (0,0,0) writes 4 bytes at local address 0x10: "
                "outside local memory, 16 bytes",
                "memory: thread (0,0,0) of block (0,0,0) reads 4 bytes at parameter address 0x8: "
                "outside the parameters, 8 bytes"}));
}

TEST_F(SharedChecker, BrokenRulesOfTheExecutorBecomeReports) {
  {
    DrivenLaunch run = launch(64);
    run.observer().violates(kernel.at(0), "mask", "names lanes that do not exist", 1, 2);
    run.observer().violates(kernel.at(1), "deadlock", "nobody can go on", 0, 0);
    run.observer().violates(kernel.at(2), "assert", "a > b", 0, 1);
  }
  EXPECT_EQ(taken_reports(),
            (std::vector<std::string>{
                "synchronisation: thread (33,0,0) of block (0,0,0): mask: names lanes that do not exist",
                "synchronisation: deadlock: nobody can go on",
                "usage: thread (0,0,0) of block (0,0,0): assert: a > b"}));
}

}  // namespace
}  // namespace simulated_gpu
