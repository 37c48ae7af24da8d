#include "runtime/thread_pool.h"

#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

#include "runtime/error.h"

namespace tessera {
namespace {

TEST(ThreadPool, RunsEveryIndexOnceOnAKnownWorker) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t count : {0, 1, 2, 3, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      std::atomic<int> strangers = 0;
      pool.run(count, [&](int64_t index, int worker) {
        ++calls[static_cast<size_t>(index)];
        if (worker < 0 || worker >= threads) ++strangers;
      });
      for (const auto& call : calls) ASSERT_EQ(call, 1) << "threads " << threads << ", count " << count;
      EXPECT_EQ(strangers, 0);
    }
  }
}

TEST(ThreadPool, WorkersDoNotShareTheirNumber) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<int> shared = 0;
  pool.run(2000, [&](int64_t, int worker) {
    if (++inside[static_cast<size_t>(worker)] > 1) ++shared;
    --inside[static_cast<size_t>(worker)];
  });
  EXPECT_EQ(shared, 0);
}

TEST(ThreadPool, OneThreadIsTheCallerInOrder) {
  ThreadPool pool(1);
  std::vector<int64_t> order;
  const std::thread::id caller = std::this_thread::get_id();
  pool.run(50, [&](int64_t index, int worker) {
    EXPECT_EQ(worker, 0);
    EXPECT_EQ(std::this_thread::get_id(), caller);
    order.push_back(index);
  });
  std::vector<int64_t> expected(50);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

TEST(ThreadPool, ResultsAreVisibleAfterEveryOfManyLoops) {
  ThreadPool pool(3);
  std::vector<int64_t> values(7);
  for (int64_t round = 1; round <= 5000; ++round) {
    pool.run(7, [&](int64_t index, int) { values[static_cast<size_t>(index)] += index; });
    ASSERT_EQ(std::accumulate(values.begin(), values.end(), int64_t{0}), 21 * round);
  }
}

TEST(ThreadPool, RethrowsAndGoesOnWorking) {
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 20; ++round) {
      try {
        pool.run(100, [](int64_t index, int) {
          if (index >= 10) throw std::out_of_range("index " + std::to_string(index));
        });
        ADD_FAILURE() << "the exception of the body was lost";
      } catch (const std::out_of_range& error) {
        EXPECT_EQ(std::string(error.what()).substr(0, 6), "index ");
      }
      std::atomic<int> calls = 0;
      pool.run(100, [&](int64_t, int) { ++calls; });
      EXPECT_EQ(calls, 100);
    }
  }
}

TEST(ThreadPool, RefusesToBeEmpty) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_THROW(ThreadPool(-1), Error);
}

}  // namespace
}  // namespace tessera
