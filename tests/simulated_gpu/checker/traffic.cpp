#include "tests/simulated_gpu/checker/traffic.h"

#include <algorithm>

namespace simulated_gpu {
namespace {

constexpr uint64_t kSectorBytes = 32;
constexpr uint64_t kBanks = 32, kBankBytes = 4;

/// As many as the bank has words to give that has the most.
uint32_t cycles_of_phase(const Access& access, uint32_t mask) {
  std::array<uint64_t, 64> words;
  size_t count = 0;
  uint64_t lowest = UINT64_MAX, highest = 0;
  for (; mask; mask &= mask - 1) {
    const uint64_t address = access.addresses[__builtin_ctz(mask)];
    const uint64_t first = address / kBankBytes, last = (address + access.bytes_per_lane - 1) / kBankBytes;
    lowest = std::min(lowest, first);
    highest = std::max(highest, last);
    for (uint64_t word = first; word <= last; ++word)
      if (count == 0 || words[count - 1] != word) words[count++] = word;
  }
  if (highest - lowest < kBanks) return 1;  // no two words of one bank
  const auto end = words.begin() + static_cast<std::ptrdiff_t>(count);
  if (!std::is_sorted(words.begin(), end)) std::sort(words.begin(), end);
  std::array<uint32_t, kBanks> wanted{};
  std::for_each(words.begin(), std::unique(words.begin(), end),
                [&](uint64_t word) { ++wanted[word % kBanks]; });
  return *std::max_element(wanted.begin(), wanted.end());
}

}  // namespace

uint32_t sectors(const Access& access) {
  std::array<uint64_t, 64> touched;
  size_t count = 0;
  for (uint32_t mask = access.mask; mask; mask &= mask - 1) {
    const uint64_t address = access.addresses[__builtin_ctz(mask)];
    const uint64_t last = (address + access.bytes_per_lane - 1) / kSectorBytes;
    for (uint64_t sector = address / kSectorBytes; sector <= last; ++sector)
      if (count == 0 || touched[count - 1] != sector) touched[count++] = sector;
  }
  const auto end = touched.begin() + static_cast<std::ptrdiff_t>(count);
  if (!std::is_sorted(touched.begin(), end)) std::sort(touched.begin(), end);
  return static_cast<uint32_t>(std::unique(touched.begin(), end) - touched.begin());
}

uint32_t bank_conflicts(const Access& access) {
  const int lanes = access.bytes_per_lane >= 16 ? 8 : access.bytes_per_lane >= 8 ? 16 : 32;
  uint32_t conflicts = 0;
  for (int first = 0; first < 32; first += lanes) {
    const uint32_t phase = access.mask & (~uint32_t{0} >> (32 - lanes)) << first;
    if (phase) conflicts += cycles_of_phase(access, phase) - 1;
  }
  return conflicts;
}

void DistinctBytes::add(const Access& access) {
  // Neighbours are joined first: most accesses are one run.
  uint64_t begin = 0, end = 0;
  for (uint32_t mask = access.mask; mask; mask &= mask - 1) {
    const uint64_t address = access.addresses[__builtin_ctz(mask)];
    if (address != end) {
      if (begin != end) add(begin, end - begin);
      begin = address;
    }
    end = address + access.bytes_per_lane;
  }
  if (begin != end) add(begin, end - begin);
}

void DistinctBytes::add(uint64_t address, uint64_t bytes) {
  for (const uint64_t end = address + bytes; address < end;) {
    if (address / kPage != last_index_) {
      last_index_ = address / kPage;
      last_ = &pages_[last_index_];
    }
    const uint64_t bit = address % 64;
    const uint64_t length = std::min(end - address, 64 - bit);
    (*last_)[address % kPage / 64] |= (~uint64_t{0} >> (64 - length)) << bit;
    address += length;
  }
}

uint64_t DistinctBytes::count() const {
  uint64_t count = 0;
  for (const auto& [index, page] : pages_)
    for (const uint64_t bits : page) count += static_cast<uint64_t>(__builtin_popcountll(bits));
  return count;
}

}  // namespace simulated_gpu
