#include "runtime/allocator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr int64_t kAlignment = 64;

}  // namespace

// Eight classes per power of two: at most 12.5 % is wasted and blocks of similar size serve each other.
int64_t Allocator::rounded(int64_t bytes) {
  const int64_t wanted = std::max<int64_t>(bytes + kPadding, 512);
  const int64_t step =
      std::max<int64_t>(kAlignment, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(wanted)) / 8));
  return (wanted + step - 1) / step * step;
}

Allocator::~Allocator() {
  for (auto& [size, blocks] : kept_)
    for (void* block : blocks) std::free(block);
}

void* Allocator::allocate(int64_t bytes) {
  const int64_t size = rounded(bytes);
  std::lock_guard hold(lock_);
  void* block = nullptr;
  if (auto kept = kept_.find(size); kept != kept_.end() && !kept->second.empty()) {
    block = kept->second.back();
    kept->second.pop_back();
  } else {
    block = std::aligned_alloc(kAlignment, static_cast<size_t>(size));
    TESSERA_CHECK(block, "allocator: the system has no ", size, " bytes left; ", statistics_.live_bytes,
                  " are in use");
    statistics_.held_bytes += size;
    ++statistics_.system_calls;
  }
  statistics_.live_bytes += size;
  statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.live_bytes);
  return block;
}

void Allocator::release(void* block, int64_t bytes) noexcept {
  const int64_t size = rounded(bytes);
  std::lock_guard hold(lock_);
  kept_[size].push_back(block);
  statistics_.live_bytes -= size;
}

Allocator::Statistics Allocator::statistics() const {
  std::lock_guard hold(lock_);
  return statistics_;
}

}  // namespace tessera
