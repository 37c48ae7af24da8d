#include "runtime/random.h"

#include <bit>
#include <utility>

#include "runtime/error.h"
#include "runtime/normal_quantile.h"

namespace tessera {
double random_normal(uint64_t seed, Purpose purpose, uint64_t index) {
  return normal_quantile(random_uniform(seed, purpose, index));
}

uint64_t random_permutation(uint64_t seed, Purpose purpose, uint64_t count, uint64_t position) {
  TESSERA_CHECK(position < count, "random_permutation: position must be below ", count, ", got ", position);
  if (count == 1) return 0;
  const int half = (static_cast<int>(std::bit_width(count - 1)) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t value = position;
  do {
    uint64_t left = value >> half, right = value & mask;
    for (uint64_t round = 0; round < 6; ++round) {
      const uint64_t mixed = random_u64(seed, purpose, (round << 56) ^ right) & mask;
      left = std::exchange(right, left ^ mixed);
    }
    value = left << half | right;
  } while (value >= count);
  return value;
}

}  // namespace tessera
