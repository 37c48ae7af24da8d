#include "runtime/allocator.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

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

TEST(Allocator, HandsOutReleasedBlocksAgain) {
  Allocator memory;
  void* const first = memory.allocate(10'000);
  memory.release(first, 10'000);
  EXPECT_EQ(memory.allocate(9'000), first);
  void* const second = memory.allocate(10'000);
  EXPECT_NE(second, first);
  EXPECT_EQ(memory.statistics().growths, 2);
  memory.release(first, 9'000);
  memory.release(second, 10'000);
  EXPECT_EQ(memory.statistics().live_bytes, 0);
}

/// Whoever writes first decides where a page lies, so no page may be there before.
TEST(Allocator, TouchesNoPageItself) {
  Allocator memory;
  constexpr int64_t kBytes = int64_t{64} << 20;
  auto* const block = static_cast<uint8_t*>(memory.allocate(kBytes));
  std::vector<unsigned char> present(kBytes / 4096);
  const auto touched = [&] {
    EXPECT_EQ(::mincore(block, kBytes, present.data()), 0);
    return std::ranges::count_if(present, [](unsigned char page) { return (page & 1) != 0; });
  };
  EXPECT_EQ(touched(), 0);
  block[0] = 1;
  EXPECT_GE(touched(), 1);
  memory.release(block, kBytes);
  EXPECT_EQ(memory.allocate(kBytes / 2), block);
  EXPECT_GE(touched(), 1) << "a freed page goes on being there";
  memory.release(block, kBytes / 2);
}

#if defined(__SANITIZE_ADDRESS__)
TEST(Allocator, PoisonsWhatIsNotLive) {
  Allocator memory;
  auto* const block = static_cast<char*>(memory.allocate(100));
  EXPECT_FALSE(__asan_address_is_poisoned(block + 163));
  EXPECT_TRUE(__asan_address_is_poisoned(block + 164 + 8));
  memory.release(block, 100);
  EXPECT_TRUE(__asan_address_is_poisoned(block));
}
#endif

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
  EXPECT_LE(memory.statistics().growths, 4);
}

TEST(Allocator, SaysWhenThereIsNoMemory) {
  Allocator memory;
  EXPECT_THROW(memory.allocate(int64_t{1} << 60), Error);
  EXPECT_EQ(memory.statistics().live_bytes, 0);
}

}  // namespace
}  // namespace tessera
