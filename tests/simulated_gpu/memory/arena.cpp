#include "tests/simulated_gpu/memory/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace simulated_gpu {
namespace {

constexpr uint64_t kAlignment = 256;
constexpr uint64_t kPage = 4096;
/// Nothing is stored between two blocks, or before the first, so an index that is off by less than this
/// belongs to no block.
constexpr uint64_t kGap = 256;
/// Addresses per byte of capacity.  Only pages that were written take memory of the machine.
constexpr uint64_t kRangePerCapacity = 8;
/// Every bit set is a NaN in bf16, f16, f32 and f64, and an index out of any range.
constexpr int kPoison = 0xff;

uint64_t round_up(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

std::runtime_error system_error(const std::string& what) {
  return std::runtime_error("simulated device memory: " + what + ": " + std::strerror(errno));
}

}  // namespace

Arena::Arena(uint64_t capacity_bytes)
    : capacity_(capacity_bytes), range_(round_up(capacity_bytes * kRangePerCapacity + 2 * kGap, kPage)) {
  file_ = memfd_create("simulated_gpu", MFD_CLOEXEC);
  if (file_ < 0) throw system_error("memfd_create");
  void* device = MAP_FAILED;
  void* simulator = MAP_FAILED;
  if (ftruncate(file_, static_cast<off_t>(range_)) == 0) {
    device = mmap(nullptr, range_, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file_, 0);
    simulator = mmap(nullptr, range_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file_, 0);
  }
  if (device == MAP_FAILED || simulator == MAP_FAILED) {
    const std::runtime_error error = system_error("mapping " + std::to_string(range_) + " bytes");
    if (device != MAP_FAILED) munmap(device, range_);
    close(file_);
    throw error;
  }
  device_view_ = static_cast<std::byte*>(device);
  simulator_view_ = static_cast<std::byte*>(simulator);
  next_ = base() + kGap;
}

Arena::~Arena() {
  munmap(device_view_, range_);
  munmap(simulator_view_, range_);
  close(file_);
}

uint64_t Arena::find_gap(uint64_t from, uint64_t until, uint64_t bytes) const {
  auto block = live_.upper_bound(from);
  if (block != live_.begin()) {
    const auto& [address, length] = *std::prev(block);
    from = std::max(from, round_up(address + length + kGap, kAlignment));
  }
  for (; block != live_.end() && block->first < from + bytes + kGap; ++block)
    from = round_up(block->first + block->second + kGap, kAlignment);
  return from + bytes + kGap <= until ? from : 0;
}

uint64_t Arena::allocate(uint64_t bytes) {
  const uint64_t rounded = round_up(bytes, kAlignment);
  if (rounded < bytes || rounded > capacity_ - used_) return 0;
  uint64_t address = find_gap(next_, base() + range_, bytes);
  if (!address) address = find_gap(base() + kGap, base() + range_, bytes);
  if (!address) return 0;
  live_[address] = bytes;
  used_ += rounded;
  next_ = address + rounded;
  std::memset(at(address), kPoison, bytes);
  return address;
}

bool Arena::release(uint64_t address) {
  const auto block = live_.find(address);
  if (block == live_.end()) return false;
  const uint64_t bytes = block->second;
  live_.erase(block);
  used_ -= round_up(bytes, kAlignment);
  // Whole pages of the block go back to the machine; its first and last may hold neighbours.
  const uint64_t first = round_up(address - base(), kPage);
  const uint64_t last = (address + bytes - base()) / kPage * kPage;
  if (first < last)
    fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first),
              static_cast<off_t>(last - first));
  return true;
}

std::optional<Block> Arena::find(uint64_t address) const {
  auto block = live_.upper_bound(address);
  if (block == live_.begin()) return std::nullopt;
  --block;
  if (address - block->first >= block->second) return std::nullopt;
  return Block{block->first, block->second};
}

}  // namespace simulated_gpu
