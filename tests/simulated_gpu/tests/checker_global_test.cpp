// Global memory within one launch: every finding with a near miss that is legal.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/simulated_gpu/tests/launch_driver.h"

namespace simulated_gpu {
namespace {

constexpr AccessKind kRead = AccessKind::read, kWrite = AccessKind::write, kAtomic = AccessKind::atomic;
constexpr uint64_t kBytes = 1024;

/// A block of memory that a memset filled, and the address and text of it in reports.
class GlobalChecker : public ::testing::Test {
 protected:
  void SetUp() override {
    data = allocate(kBytes);
    counter = allocate(4);
    for (const uint64_t address : {data, counter})
      shadow.touch(address, arena.find(address)->bytes, kWrite, timelines.next(1, "cudaMemset"));
  }

  uint64_t allocate(uint64_t bytes) {
    const uint64_t address = arena.allocate(bytes);
    shadow.allocated(address, bytes, timelines.next(1, "cudaMalloc"));
    return address;
  }

  DrivenLaunch launch(uint32_t blocks, uint32_t threads) {
    return DrivenLaunch(shadow.watch_launch(timelines.next(1, "launch kernel")), kernel, blocks, threads);
  }

  /// Word i of data for lane 0, the following ones for the others.
  std::function<uint64_t(int)> words(uint64_t first = 0) const {
    return [=, this](int lane) { return data + 4 * (first + static_cast<uint64_t>(lane)); };
  }
  std::function<uint64_t(int)> word(uint64_t index) const {
    return [=, this](int) { return data + 4 * index; };
  }
  std::function<uint64_t(int)> at_counter() const {
    return [this](int) { return counter; };
  }

  /// How many places a launch was reported at.
  size_t reported(const std::function<void(DrivenLaunch&)>& play, uint32_t blocks, uint32_t threads) {
    {
      DrivenLaunch run = launch(blocks, threads);
      play(run);
    }
    return taken_reports().size();
  }

  Arena arena{1 << 20};
  GlobalShadow shadow{arena};
  Timelines timelines;
  SomeKernel kernel{8};
  uint64_t data = 0, counter = 0;
};

TEST_F(GlobalChecker, OneElementPastTheEnd) {
  {
    DrivenLaunch run = launch(1, 32);
    EXPECT_EQ(run.global(0, kRead, 0, kAllLanes, 4, words(256 - 32)), kAllLanes);
    EXPECT_EQ(run.global(1, kRead, 0, kAllLanes, 4, words(256 - 31)), 0x7fffffffu);
  }
  const std::vector<Report> reports = take_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].kind, ReportKind::memory);
  EXPECT_EQ(reports[0].kernel, "kernel(float*)");
  EXPECT_EQ(reports[0].source, "a.cu:2");
  EXPECT_EQ(reports[0].instruction, "instruction 1");
  EXPECT_TRUE(reports[0].text.find("thread (31,0,0) of block (0,0,0) reads 4 bytes") == 0) << reports[0].text;
  EXPECT_NE(reports[0].text.find("0 bytes past the end of the block of 1024 bytes"), std::string::npos)
      << reports[0].text;
}

TEST_F(GlobalChecker, SaysWhereAWildAddressLies) {
  const uint64_t freed = allocate(64);
  shadow.released(freed, 64, timelines.next(1, "cudaFree"));
  arena.release(freed);
  int host = 0;
  const struct {
    uint64_t address;
    const char* text;
  } cases[] = {{data - 8, "8 bytes before the block of 1024 bytes"},
               {data + kBytes + 12, "12 bytes past the end of the block of 1024 bytes"},
               {freed + 8, "byte 8 of the block of 64 bytes"},
               {reinterpret_cast<uint64_t>(&host), "not device memory"},
               {0, "a null pointer"}};
  for (const auto& wild : cases) {
    {
      DrivenLaunch run = launch(1, 32);
      EXPECT_EQ(run.global(0, kWrite, 0, 1, 4, [&](int) { return wild.address; }), 0u);
    }
    const auto reports = taken_reports();
    ASSERT_EQ(reports.size(), 1u) << wild.text;
    EXPECT_NE(reports[0].find(wild.text), std::string::npos) << reports[0];
  }
}

TEST_F(GlobalChecker, AVectorAcrossTheEnd) {
  const uint64_t odd = allocate(24);
  shadow.touch(odd, 24, kWrite, timelines.next(1, "cudaMemset"));
  {
    DrivenLaunch run = launch(1, 32);
    EXPECT_EQ(
        run.global(0, kRead, 0, 3, 16, [&](int lane) { return odd + 16 * static_cast<uint64_t>(lane); }), 1u);
  }
  const auto reports = taken_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(reports[0].find("8 bytes across the end of the block of 24 bytes"), std::string::npos)
      << reports[0];
}

TEST_F(GlobalChecker, MisalignedVectors) {
  EXPECT_EQ(reported(
                [&](DrivenLaunch& run) {
                  run.global(0, kRead, 0, 3, 16, [&](int lane) { return data + 16 * lane; });
                },
                1, 32),
            0u);
  EXPECT_EQ(reported(
                [&](DrivenLaunch& run) {
                  run.global(0, kRead, 0, 3, 16, [&](int lane) { return data + 8 + 16 * lane; });
                },
                1, 32),
            1u);
}

TEST_F(GlobalChecker, ReadsWhatNobodyWrote) {
  const uint64_t fresh = allocate(256);
  const auto place = [&](int lane) { return fresh + 4 * static_cast<uint64_t>(lane); };
  {
    DrivenLaunch run = launch(2, 32);
    run.global(0, kWrite, 0, 0xffff, 4, place);
    run.global(1, kRead, 0, 0xffff, 4, place);
    EXPECT_EQ(taken_reports(), std::vector<std::string>{});
    EXPECT_EQ(run.global(2, kRead, 0, kAllLanes, 4, place), kAllLanes);
  }
  const auto reports = take_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].kind, ReportKind::uninitialised);
  EXPECT_EQ(reports[0].count, 16u);
  EXPECT_NE(reports[0].text.find("thread (16,0,0) of block (0,0,0) reads byte 64 of the block of 256 bytes"),
            std::string::npos)
      << reports[0].text;
}

TEST_F(GlobalChecker, AnAtomicReadsToo) {
  const uint64_t fresh = allocate(4);
  EXPECT_EQ(reported([&](DrivenLaunch& run) { run.global(0, kAtomic, 0, 1, 4, [&](int) { return fresh; }); },
                     1, 32),
            1u);
}

TEST_F(GlobalChecker, BlocksThatTouchTheirOwnWords) {
  EXPECT_EQ(reported(
                [&](DrivenLaunch& run) {
                  for (uint32_t block = 0; block < 4; ++block) {
                    if (block) run.block(block);
                    for (int warp = 0; warp < 2; ++warp) {
                      run.global(0, kRead, warp, kAllLanes, 4,
                                 words(64 * block + 32 * static_cast<uint64_t>(warp)));
                      run.global(1, kWrite, warp, kAllLanes, 4,
                                 words(64 * block + 32 * static_cast<uint64_t>(warp)));
                      run.global(2, kRead, warp, kAllLanes, 4,
                                 words(64 * block + 32 * static_cast<uint64_t>(warp)));
                    }
                  }
                },
                4, 64),
            0u);
}

TEST_F(GlobalChecker, BlocksAreNotOrdered) {
  const auto play = [&](AccessKind first, AccessKind second) {
    return reported(
        [&](DrivenLaunch& run) {
          run.global(0, first, 0, 1, 4, word(3));
          run.barrier();
          run.block(1);
          run.barrier();
          run.global(1, second, 0, 1, 4, word(3));
        },
        2, 64);
  };
  EXPECT_EQ(play(kRead, kRead), 0u);
  EXPECT_EQ(play(kWrite, kRead), 1u);
  EXPECT_EQ(play(kRead, kWrite), 1u);
  EXPECT_EQ(play(kWrite, kWrite), 1u);
  EXPECT_EQ(play(kAtomic, kAtomic), 0u);
  EXPECT_EQ(play(kWrite, kAtomic), 1u);
  EXPECT_EQ(play(kAtomic, kRead), 1u);
  EXPECT_EQ(play(kRead, kAtomic), 1u);
}

TEST_F(GlobalChecker, AReaderInAnotherBlockIsNotForgottenForOwnReaders) {
  {
    DrivenLaunch run = launch(2, 64);
    run.global(0, kRead, 0, kAllLanes, 4, words());
    run.block(1);
    for (int warp = 0; warp < 2; ++warp) run.global(1, kRead, warp, kAllLanes, 4, words());
    run.barrier();
    run.global(2, kWrite, 0, 1, 4, words());
  }
  const auto reports = taken_reports();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_NE(
      reports[0].find("which thread (0,0,0) of block (0,0,0) read at a.cu:1; nothing orders the blocks"),
      std::string::npos)
      << reports[0];
}

TEST_F(GlobalChecker, ThreadsOfABlockAreOrderedByBarriers) {
  const auto play = [&](bool has_barrier) {
    return reported(
        [&](DrivenLaunch& run) {
          run.global(0, kWrite, 0, kAllLanes, 4, words());
          if (has_barrier) run.barrier();
          run.global(1, kRead, 1, kAllLanes, 4, words());
        },
        1, 64);
  };
  EXPECT_EQ(play(true), 0u);
  EXPECT_EQ(play(false), 1u);
}

/// Every block writes a partial result and counts itself; the last one reads all of them.
struct LastBlock {
  bool writers_fence = false;         ///< each thread, after its write
  bool counter_thread_fences = true;  ///< thread 0, before the atomic
  bool barrier_before = true, barrier_after = true;
  bool resets_counter = false;
};

class LastBlockChecker : public GlobalChecker {
 protected:
  size_t reports_of(const LastBlock& how) {
    return reported(
        [&](DrivenLaunch& run) {
          constexpr uint32_t kBlocks = 3;
          for (uint32_t block = 0; block < kBlocks; ++block) {
            if (block) run.block(block);
            for (int warp = 0; warp < 2; ++warp) {
              run.global(0, kWrite, warp, kAllLanes, 4, words(64 * block + 32 * static_cast<uint64_t>(warp)));
              if (how.writers_fence) run.fence(warp, kAllLanes);
            }
            if (how.barrier_before) run.barrier();
            if (how.counter_thread_fences) run.fence(0, 1);
            run.global(1, kAtomic, 0, 1, 4, at_counter());
            if (how.barrier_after) run.barrier();
          }
          for (uint32_t block = 0; block < kBlocks; ++block)
            run.global(2, kRead, 1, kAllLanes, 4, words(64 * block + 32));
          if (how.resets_counter) run.global(3, kWrite, 0, 1, 4, at_counter());
        },
        3, 64);
  }
};

TEST_F(LastBlockChecker, FenceAndAtomicOrderBlocks) { EXPECT_EQ(reports_of({}), 0u); }
TEST_F(LastBlockChecker, TheCounterMayBeReset) { EXPECT_EQ(reports_of({.resets_counter = true}), 0u); }
TEST_F(LastBlockChecker, FencesOfTheWritersDo) {
  EXPECT_EQ(reports_of({.writers_fence = true, .counter_thread_fences = false}), 0u);
}
TEST_F(LastBlockChecker, WithoutAFence) { EXPECT_EQ(reports_of({.counter_thread_fences = false}), 1u); }
TEST_F(LastBlockChecker, WithoutABarrierBeforeTheFence) {
  EXPECT_EQ(reports_of({.barrier_before = false}), 1u);
}
TEST_F(LastBlockChecker, WithoutABarrierAfterTheAtomic) {
  EXPECT_EQ(reports_of({.barrier_after = false}), 1u);
}
TEST_F(LastBlockChecker, WritersFenceButNoBarrierBeforeTheAtomic) {
  EXPECT_EQ(reports_of({.writers_fence = true, .counter_thread_fences = false, .barrier_before = false}), 1u);
}

TEST_F(GlobalChecker, AFenceOnAnotherLocationDoesNotOrder) {
  const auto play = [&](uint64_t second_location) {
    return reported(
        [&](DrivenLaunch& run) {
          run.global(0, kWrite, 0, 1, 4, word(8));
          run.fence(0, 1);
          run.global(1, kAtomic, 0, 1, 4, word(0));
          run.block(1);
          run.global(2, kAtomic, 0, 1, 4, word(second_location));
          run.global(3, kRead, 0, 1, 4, word(8));
        },
        2, 32);
  };
  EXPECT_EQ(play(0), 0u);
  EXPECT_EQ(play(1), 1u);
}

TEST_F(GlobalChecker, OrderGoesThroughAThirdBlock) {
  const auto play = [&](bool third_fences) {
    return reported(
        [&](DrivenLaunch& run) {
          run.global(0, kWrite, 0, 1, 4, word(8));
          run.fence(0, 1);
          run.global(1, kAtomic, 0, 1, 4, word(0));
          run.block(1);
          run.global(2, kAtomic, 0, 1, 4, word(0));
          if (third_fences) run.fence(0, 1);
          run.global(3, kAtomic, 0, 1, 4, word(1));
          run.block(2);
          run.global(4, kAtomic, 0, 1, 4, word(1));
          run.global(5, kRead, 0, 1, 4, word(8));
        },
        3, 32);
  };
  EXPECT_EQ(play(true), 0u);
  EXPECT_EQ(play(false), 1u);
}

TEST_F(GlobalChecker, WhatComesAfterTheFenceIsNotOrdered) {
  EXPECT_EQ(reported(
                [&](DrivenLaunch& run) {
                  run.fence(0, 1);
                  run.global(0, kWrite, 0, 1, 4, word(8));
                  run.global(1, kAtomic, 0, 1, 4, word(0));
                  run.block(1);
                  run.global(2, kAtomic, 0, 1, 4, word(0));
                  run.global(3, kRead, 0, 1, 4, word(8));
                },
                2, 32),
            1u);
}

TEST_F(GlobalChecker, AReleasingAtomicIsItsOwnFence) {
  kernel.change().code[1].modifiers.set(static_cast<size_t>(ptx::Modifier::acq_rel));
  EXPECT_EQ(reported(
                [&](DrivenLaunch& run) {
                  run.global(0, kWrite, 0, 1, 4, word(8));
                  run.global(1, kAtomic, 0, 1, 4, word(0));
                  run.block(1);
                  run.global(2, kAtomic, 0, 1, 4, word(0));
                  run.global(3, kRead, 0, 1, 4, word(8));
                },
                2, 32),
            0u);
}

TEST_F(GlobalChecker, NeighboursInOneWordAreNotOneAnother) {
  const auto play = [&](uint32_t bytes, int64_t stride) {
    return reported(
        [&](DrivenLaunch& run) {
          run.global(0, kWrite, 0, 1, bytes, [&](int) { return data; });
          run.block(1);
          run.global(1, kWrite, 0, 1, bytes, [&](int) { return data + static_cast<uint64_t>(stride); });
        },
        2, 32);
  };
  EXPECT_EQ(play(4, 4), 0u);
  EXPECT_EQ(play(2, 2), 0u);
  EXPECT_EQ(play(1, 1), 0u);
  EXPECT_EQ(play(1, 0), 1u);
}

TEST_F(GlobalChecker, ScatteredAndStridedLanesAreCheckedOneByOne) {
  const auto column = [&](int lane) { return data + 32 * static_cast<uint64_t>(lane); };
  const auto backwards = [&](int lane) { return data + 4 * static_cast<uint64_t>(31 - lane); };
  EXPECT_EQ(reported(
                [&](DrivenLaunch& run) {
                  run.global(0, kWrite, 0, kAllLanes, 4, column);
                  run.global(1, kRead, 0, kAllLanes, 4, column);
                },
                1, 32),
            0u);
  EXPECT_EQ(reported(
                [&](DrivenLaunch& run) {
                  run.global(0, kWrite, 0, kAllLanes, 4, words());
                  run.global(1, kRead, 0, kAllLanes, 4, backwards);
                },
                1, 32),
            1u);
}

TEST_F(GlobalChecker, AnExceptionInALaunchLeavesTheCheckerUsable) {
  { const auto begun = shadow.watch_launch(timelines.next(1, "launch kernel")); }
  {
    const auto begun = shadow.watch_launch(timelines.next(1, "launch kernel"));
    begun->launch_begins({&kernel.kernel(), {1, 1, 1}, {32, 1, 1}, 0});
  }
  EXPECT_TRUE(shadow.touch(data, kBytes, kRead, timelines.next(1, "cudaMemcpy")));
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
}

}  // namespace
}  // namespace simulated_gpu
