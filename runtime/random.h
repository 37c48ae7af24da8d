#pragma once
// Counter-based random numbers: (seed, purpose, index) -> bits, the same on every backend and for any number of ranks.
// There is no generator state: whoever knows the triple can draw the number again.
// Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Philox4x32-10).

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace tessera {

/// What a stream of numbers is for.  Distinct names give independent streams.
struct Purpose {
  uint64_t id;
  constexpr explicit Purpose(std::string_view name) : id(1469598103934665603ull) {
    for (char letter : name) id = (id ^ static_cast<uint8_t>(letter)) * 1099511628211ull;  // FNV-1a
  }
};

/// 128 random bits.
constexpr std::array<uint32_t, 4> random_bits(uint64_t seed, Purpose purpose, uint64_t index) {
  std::array<uint32_t, 4> counter{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                                  static_cast<uint32_t>(purpose.id), static_cast<uint32_t>(purpose.id >> 32)};
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = 0xD2511F53ull * counter[0];
    const uint64_t product1 = 0xCD9E8D57ull * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

constexpr uint64_t random_u64(uint64_t seed, Purpose purpose, uint64_t index) {
  const auto bits = random_bits(seed, purpose, index);
  return static_cast<uint64_t>(bits[0]) | static_cast<uint64_t>(bits[1]) << 32;
}

/// In the open interval (0, 1), 53 bits.
constexpr double random_uniform(uint64_t seed, Purpose purpose, uint64_t index) {
  const double uniform = (static_cast<double>(random_u64(seed, purpose, index) >> 11) + 0.5) * 0x1p-53;
  return uniform < 1 ? uniform : 1 - 0x1p-53;  // the largest draw alone rounds to 1
}

/// A whole number in [0, bound), bound > 0, by multiplication (bias below bound / 2^64).
constexpr uint64_t random_below(uint64_t seed, Purpose purpose, uint64_t index, uint64_t bound) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(random_u64(seed, purpose, index)) * bound) >>
                               64);
}

/// Standard normal: normal_quantile (runtime/normal_quantile.h) of random_uniform.
double random_normal(uint64_t seed, Purpose purpose, uint64_t index);

/// A permutation of [0, count) drawn by (seed, purpose), evaluated at one position in constant time: a Feistel network
/// over the next even power of two, walked until it lands inside.  Throws Error when position is not in [0, count).
uint64_t random_permutation(uint64_t seed, Purpose purpose, uint64_t count, uint64_t position);

}  // namespace tessera
