#include "runtime/thread_pool.h"

#include <immintrin.h>

#include <chrono>
#include <utility>

#include "runtime/error.h"

namespace tessera {
namespace {

// Long enough to bridge the gap between two kernels: a helper that sleeps takes as long to wake as a small kernel takes.
constexpr std::chrono::microseconds kPatience{100};

/// Waits for done() without sleep; whoever else wants the core has it meanwhile.  False when patience ends.
template <class Done>
bool spin(const Done& done) {
  constexpr int kLooks = 64;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  do {
    for (int look = 0; look < kLooks; ++look) {
      if (done()) return true;
      _mm_pause();
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  TESSERA_CHECK(threads >= 1, "thread pool: threads must be at least 1, got ", threads);
  for (int worker = 1; worker < threads; ++worker) helpers_.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard hold(lock_);
    stop_ = true;
    round_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::run_shared(int64_t count, Call call, const void* body) {
  bool sleepers;
  {
    std::lock_guard hold(lock_);
    count_ = count;
    call_ = call;
    body_ = body;
    next_.store(0, std::memory_order_relaxed);
    open_ = true;
    sleepers = asleep_ > 0;
    round_.fetch_add(1, std::memory_order_release);
  }
  if (sleepers) wake_.notify_all();
  drain(0);
  {
    std::lock_guard hold(lock_);
    open_ = false;  // whoever comes late is not waited for
  }
  const auto left = [this] { return inside_.load(std::memory_order_acquire) == 0; };
  const bool all_left = spin(left);
  std::unique_lock hold(lock_);
  if (!all_left) idle_.wait(hold, left);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::drain(int worker) {
  try {
    for (;;) {
      const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
      if (index >= count_) return;
      call_(body_, index, worker);
    }
  } catch (...) {
    next_.store(count_, std::memory_order_relaxed);
    std::lock_guard hold(lock_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadPool::work(int worker) {
  uint64_t seen = 0;
  const auto called = [&] { return round_.load(std::memory_order_acquire) != seen; };
  for (;;) {
    const bool awake = spin(called);
    {
      std::unique_lock hold(lock_);
      if (!awake) {
        ++asleep_;
        wake_.wait(hold, called);
        --asleep_;
      }
      if (stop_) return;
      seen = round_.load(std::memory_order_relaxed);
      if (!open_) continue;
      inside_.fetch_add(1, std::memory_order_relaxed);
    }
    drain(worker);
    if (inside_.fetch_sub(1, std::memory_order_acq_rel) > 1) continue;
    const std::lock_guard hold(lock_);
    idle_.notify_one();
  }
}

}  // namespace tessera
