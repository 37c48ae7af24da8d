#pragma once
// The threads that split one kernel.  The caller works too, so a pool of one thread starts none.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace tessera {

/// Runs loops whose iterations are independent.  Which thread runs an iteration must not influence its result.
/// One loop at a time: run() is called by the thread that owns the stream, never from inside a body.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  ///< throws Error when threads < 1
  ~ThreadPool();                     ///< joins the helpers
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  /// Calls body(index, worker) once for every index in [0, count), worker in [0, threads()).  Indices are handed out
  /// one by one in increasing order.  Rethrows the first exception of a body after all threads have stopped.
  template <class Body>
  void run(int64_t count, const Body& body) {
    if (helpers_.empty() || count <= 1) {
      for (int64_t index = 0; index < count; ++index) body(index, 0);
      return;
    }
    run_shared(
        count,
        [](const void* object, int64_t index, int worker) {
          (*static_cast<const Body*>(object))(index, worker);
        },
        &body);
  }

 private:
  using Call = void (*)(const void* body, int64_t index, int worker);
  void run_shared(int64_t count, Call call, const void* body);
  void work(int worker);
  void drain(int worker);

  std::vector<std::thread> helpers_;
  std::mutex lock_;
  std::condition_variable wake_, idle_;
  bool open_ = false;               ///< guarded by lock_; helpers may enter the round
  bool stop_ = false;               ///< guarded by lock_
  int asleep_ = 0;                  ///< guarded by lock_; helpers that wait for wake_
  std::exception_ptr failure_;      ///< guarded by lock_
  std::atomic<uint64_t> round_{0};  ///< changed under lock_; a new value calls the helpers
  std::atomic<int> inside_{0};      ///< helpers in the round; rises under lock_
  std::atomic<int64_t> next_{0};
  int64_t count_ = 0;
  Call call_ = nullptr;
  const void* body_ = nullptr;
};

}  // namespace tessera
