#include "runtime/allocator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <set>
#include <thread>

#include "runtime/error.h"

namespace tessera {
namespace {

TEST(Allocator, BlocksAreAlignedApartAndPadded) {
  Allocator memory;
  std::vector<std::pair<uint8_t*, int64_t>> blocks;
  for (int64_t bytes : {0, 1, 63, 64, 65, 511, 512, 5000, 1 << 20}) {
    auto* const block = static_cast<uint8_t*>(memory.allocate(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u) << bytes;
    std::memset(block, static_cast<int>(blocks.size()), static_cast<size_t>(bytes + 64));
    blocks.emplace_back(block, bytes);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (int64_t at = 0; at < blocks[i].second + 64; ++at) ASSERT_EQ(blocks[i].first[at], i);
    memory.release(blocks[i].first, blocks[i].second);
  }
}

TEST(Allocator, SizeClassesHoldTheRequestAndWasteLittle) {
  int64_t before = 0;
  for (int64_t bytes = 0; bytes < 1'000'000; bytes += 37) {
    const int64_t size = Allocator::rounded(bytes);
    ASSERT_GE(size, bytes + 64);
    ASSERT_LE(static_cast<double>(size), std::max(512.0, 1.125 * static_cast<double>(bytes + 64) + 64));
    ASSERT_EQ(size % 64, 0);
    ASSERT_EQ(Allocator::rounded(size - 64), size) << "a class must serve its own size";
    ASSERT_GE(size, before);
    before = size;
  }
}

TEST(Allocator, HandsOutReleasedBlocksAgain) {
  Allocator memory;
  void* const first = memory.allocate(10'000);
  memory.release(first, 10'000);
  EXPECT_EQ(memory.allocate(10'001), first);
  void* const second = memory.allocate(10'000);
  EXPECT_NE(second, first);
  EXPECT_EQ(memory.statistics().system_calls, 2);
  memory.release(first, 10'001);
  memory.release(second, 10'000);
}

TEST(Allocator, CountsWhatIsLiveHeldAndPeak) {
  Allocator memory;
  const int64_t size = Allocator::rounded(1000);
  void* const a = memory.allocate(1000);
  void* const b = memory.allocate(1000);
  memory.release(a, 1000);
  const Allocator::Statistics statistics = memory.statistics();
  EXPECT_EQ(statistics.live_bytes, size);
  EXPECT_EQ(statistics.peak_bytes, 2 * size);
  EXPECT_EQ(statistics.held_bytes, 2 * size);
  EXPECT_EQ(statistics.system_calls, 2);
  memory.release(b, 1000);
  EXPECT_EQ(memory.statistics().live_bytes, 0);
}

TEST(Allocator, ServesSeveralThreads) {
  Allocator memory;
  std::vector<std::thread> threads;
  for (uint8_t mark = 1; mark <= 4; ++mark)
    threads.emplace_back([&memory, mark] {
      for (int round = 0; round < 2000; ++round) {
        auto* const block = static_cast<uint8_t*>(memory.allocate(256));
        std::memset(block, mark, 256);
        for (int at = 0; at < 256; ++at) ASSERT_EQ(block[at], mark);
        memory.release(block, 256);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory.statistics().live_bytes, 0);
  EXPECT_LE(memory.statistics().system_calls, 4);
}

TEST(Allocator, SaysWhenThereIsNoMemory) {
  Allocator memory;
  EXPECT_THROW(memory.allocate(int64_t{1} << 60), Error);
  EXPECT_EQ(memory.statistics().live_bytes, 0);
}

}  // namespace
}  // namespace tessera
