#include "runtime/thread_pool.h"

#include <immintrin.h>

#include <utility>

#include "runtime/error.h"

namespace tessera {
namespace {

// Long enough to bridge the gap between two kernels, short enough to leave the core to another rank.
constexpr int kSpins = 2000;

}  // namespace

ThreadPool::ThreadPool(int threads) {
  TESSERA_CHECK(threads >= 1, "thread pool: threads must be at least 1, got ", threads);
  for (int worker = 1; worker < threads; ++worker) helpers_.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard hold(lock_);
    stop_ = true;
    announced_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::run_shared(int64_t count, Call call, const void* body) {
  {
    std::lock_guard hold(lock_);
    count_ = count;
    call_ = call;
    body_ = body;
    next_.store(0, std::memory_order_relaxed);
    running_ = static_cast<int>(helpers_.size());
    ++round_;
    announced_.store(round_, std::memory_order_release);
  }
  wake_.notify_all();
  drain(0);
  std::unique_lock hold(lock_);
  idle_.wait(hold, [this] { return running_ == 0; });
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
  for (;;) {
    for (int spin = 0; spin < kSpins && announced_.load(std::memory_order_acquire) == seen; ++spin)
      _mm_pause();
    {
      std::unique_lock hold(lock_);
      wake_.wait(hold, [&] { return stop_ || round_ != seen; });
      if (stop_) return;
      seen = round_;
    }
    drain(worker);
    {
      std::lock_guard hold(lock_);
      if (--running_ == 0) idle_.notify_one();
    }
  }
}

}  // namespace tessera
