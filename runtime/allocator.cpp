#include "runtime/allocator.h"

#include <sys/mman.h>
#include <unistd.h>

#include "runtime/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, bytes) (static_cast<void>(begin), static_cast<void>(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes) (static_cast<void>(begin), static_cast<void>(bytes))
#endif

namespace tessera {
namespace {

constexpr int64_t kHugePage = int64_t{1} << 21;

struct Range {
  char* begin = nullptr;
  int64_t bytes = 0;
};

/// Addresses without memory, from a multiple of kHugePage on: twice what the machine has, since a block need not be touched
/// whole, or as much as the limit on addresses lets it be.
Range reserve() {
  int64_t bytes = 2 * ::sysconf(_SC_PHYS_PAGES) * ::sysconf(_SC_PAGESIZE) / kHugePage * kHugePage;
  for (; bytes > 0; bytes = bytes / 2 / kHugePage * kHugePage) {
    const auto whole = static_cast<size_t>(bytes + kHugePage);
    void* const at = ::mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) continue;
    const auto before = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(at) % kHugePage);
    char* const begin = static_cast<char*>(at) + before;
    if (before > 0) ::munmap(at, static_cast<size_t>(before));
    ::munmap(begin + bytes, static_cast<size_t>(kHugePage - before));
    ::madvise(begin, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // advice: kernels without it refuse
    return {begin, bytes};
  }
  return {};
}

}  // namespace

Allocator::~Allocator() {
  if (!range_) return;
  ASAN_UNPOISON_MEMORY_REGION(range_, static_cast<size_t>(opened_));
  ::munmap(range_, static_cast<size_t>(reserved_));
}

void Allocator::open_until(int64_t end, int64_t wanted) {
  if (!range_) {
    const Range range = reserve();
    range_ = range.begin;
    reserved_ = range.bytes;
  }
  if (end <= opened_) return;
  const int64_t until = (end + kHugePage - 1) / kHugePage * kHugePage;
  TESSERA_CHECK(until <= reserved_ && ::mprotect(range_ + opened_, static_cast<size_t>(until - opened_),
                                                 PROT_READ | PROT_WRITE) == 0,
                "allocator: the system has no ", wanted, " bytes left; ", arena_.statistics().live_bytes,
                " are in use");
  ASAN_POISON_MEMORY_REGION(range_ + opened_, static_cast<size_t>(until - opened_));
  opened_ = until;
}

void* Allocator::allocate(int64_t bytes) {
  std::lock_guard hold(lock_);
  open_until(arena_.grown(bytes), bytes);
  char* const block = range_ + arena_.take(bytes);
  ASAN_UNPOISON_MEMORY_REGION(block, static_cast<size_t>(bytes + Arena::kAlignment));
  return block;
}

void Allocator::release(void* block, int64_t bytes) noexcept {
  ASAN_POISON_MEMORY_REGION(block, static_cast<size_t>(Arena::rounded(bytes)));
  std::lock_guard hold(lock_);
  arena_.give_back(static_cast<char*>(block) - range_, bytes);
}

MemoryStatistics Allocator::statistics() const {
  std::lock_guard hold(lock_);
  return arena_.statistics();
}

}  // namespace tessera
