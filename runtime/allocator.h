#pragma once
// Host memory for tensors: freed blocks are kept and handed out again, so that a training step after the first does
// not ask the operating system for pages.

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace tessera {

/// Thread-safe.  Blocks are 64-byte aligned and padded by 64 bytes, so that a masked vector tail may be read.
class Allocator {
 public:
  struct Statistics {
    int64_t live_bytes = 0;    ///< handed out now
    int64_t peak_bytes = 0;    ///< most ever handed out at once
    int64_t held_bytes = 0;    ///< taken from the system
    int64_t system_calls = 0;  ///< allocations that a kept block could not serve
  };

  Allocator() = default;
  ~Allocator();  ///< returns kept blocks; every tensor must be gone
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  void* allocate(int64_t bytes);  ///< throws Error when the system has no memory
  void release(void* block, int64_t bytes) noexcept;
  Statistics statistics() const;

  static int64_t rounded(int64_t bytes);  ///< the size class that serves a request
  static int64_t usable(int64_t bytes) {
    return rounded(bytes) - kPadding;
  }  ///< the largest request of that class

 private:
  static constexpr int64_t kPadding = 64;

  mutable std::mutex lock_;
  std::map<int64_t, std::vector<void*>> kept_;  ///< by size class
  Statistics statistics_;
};

}  // namespace tessera
