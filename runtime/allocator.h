#pragma once
// Host memory for tensors: one range of addresses, of which freed blocks are handed out again and never returned to the
// system, so that a training step after the first ones neither asks for memory nor meets a page for the first time.

#include <cstdint>
#include <mutex>

#include "runtime/arena.h"

namespace tessera {

/// Thread-safe.  Blocks are 64-byte aligned and padded by 64 bytes, so that a masked vector tail may be read.  The allocator
/// itself writes to no page: the thread that first writes to one decides on which node of the machine it lies.  Pages are huge
/// where the system allows it.  Under the address sanitizer, whatever lies outside live blocks and their padding is poisoned.
class Allocator {
 public:
  Allocator() = default;  ///< reserves nothing yet
  ~Allocator();           ///< returns the range; every tensor must be gone
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  void* allocate(int64_t bytes);  ///< throws Error when the system has no memory
  void release(void* block, int64_t bytes) noexcept;
  MemoryStatistics statistics() const;

 private:
  void open_until(int64_t end, int64_t wanted);

  mutable std::mutex lock_;
  Arena arena_;
  char* range_ = nullptr;
  int64_t reserved_ = 0, opened_ = 0;  ///< bytes of the range: in all, and those that may be touched
};

}  // namespace tessera
