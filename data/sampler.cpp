#include "data/sampler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/error.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr Purpose kPass[] = {Purpose("order of mixed units"), Purpose("order of text units")};

}  // namespace

Turns::Turns(std::vector<int64_t> weights) : weights_(std::move(weights)) {
  int64_t divisor = 0, sum = 0;
  for (const int64_t weight : weights_) {
    TESSERA_CHECK(weight >= 0, "sampler: a weight is not negative, got ", weight);
    divisor = std::gcd(divisor, weight);
  }
  TESSERA_CHECK(divisor > 0, "sampler: at least one weight must be positive");
  for (int64_t& weight : weights_) {
    weight /= divisor;
    TESSERA_CHECK(weight <= kMostWeight - sum,
                  "sampler: weights without their common divisor sum to at most ", kMostWeight);
    sum += weight;
  }
  std::vector<int64_t> had(weights_.size(), 0);
  for (int64_t turn = 0; turn < sum; ++turn) {
    size_t next = 0;
    int64_t next_end = 0;  // none yet: every real end is later
    for (size_t pool = 0; pool < weights_.size(); ++pool) {
      const int64_t weight = weights_[pool];
      if (weight == 0 || had[pool] * sum / weight > turn) continue;
      const int64_t end = ((had[pool] + 1) * sum + weight - 1) / weight;
      if (next_end == 0 || end < next_end) next = pool, next_end = end;
    }
    period_.push_back({static_cast<int64_t>(next), had[next]++});
  }
}

Turns::Turn Turns::at(int64_t turn) const {
  const int64_t period = turn / std::ssize(period_);
  Turn found = period_[static_cast<size_t>(turn % std::ssize(period_))];
  found.number += period * weights_[static_cast<size_t>(found.pool)];
  return found;
}

int64_t Turns::count(int64_t pool, int64_t turns) const {
  const int64_t whole = turns / std::ssize(period_), rest = turns % std::ssize(period_);
  return whole * weights_[static_cast<size_t>(pool)] +
         std::count_if(period_.begin(), period_.begin() + rest,
                       [pool](const Turn& turn) { return turn.pool == pool; });
}

Sampler::Sampler(PoolsPerKind pools, PerKind slots, int64_t leaves, uint64_t seed)
    : pools_(std::move(pools)), slots_(slots), leaves_(leaves), seed_(seed) {
  TESSERA_CHECK(leaves >= 1, "sampler: a step has at least one micro-batch, got ", leaves);
  TESSERA_CHECK(slots[0] >= 0 && slots[1] >= 0 && this->slots() >= 1,
                "sampler: a micro-batch has at least one unit, got ", slots[0], " mixed and ", slots[1],
                " text");
  for (const UnitKind kind : {UnitKind::mixed, UnitKind::text}) {
    const auto k = static_cast<size_t>(kind);
    std::vector<int64_t> weights;
    int64_t units = 0;
    for (const UnitPool& pool : pools_[k]) units += pool.units;
    for (const UnitPool& pool : pools_[k]) weights.push_back(pool.units > 0 ? pool.weight : 0);
    if (slots[k] == 0) weights = {1};
    TESSERA_CHECK(std::ranges::any_of(weights, [](int64_t weight) { return weight != 0; }),
                  "sampler: micro-batches ask for ", slots[k], " ", name_of(kind), " units each, but ",
                  units == 0 ? "the dataset has none" : "no source with a weight has any");
    turns_.emplace_back(std::move(weights));
  }
}

UnitRef Sampler::at(int64_t step, int64_t leaf, int64_t slot) const {
  TESSERA_CHECK(step >= 0 && 0 <= leaf && leaf < leaves_ && 0 <= slot && slot < slots(), "sampler: no step ",
                step, " leaf ", leaf, " slot ", slot, ": ", leaves_, " leaves of ", slots(), " slots");
  const UnitKind kind = slot < slots_[0] ? UnitKind::mixed : UnitKind::text;
  const auto k = static_cast<size_t>(kind);
  const int64_t slot_of_kind = kind == UnitKind::mixed ? slot : slot - slots_[0];
  const Turns::Turn turn = turns_[k].at((step * leaves_ + leaf) * slots_[k] + slot_of_kind);
  const UnitPool& pool = pools_[k][static_cast<size_t>(turn.pool)];
  const int64_t pass = turn.number / pool.units, position = turn.number % pool.units;
  const uint64_t order =
      random_u64(seed_, kPass[k], static_cast<uint64_t>(pass * std::ssize(pools_[k]) + turn.pool));
  return {kind, pool.first + static_cast<int64_t>(random_permutation(order, kPass[k],
                                                                     static_cast<uint64_t>(pool.units),
                                                                     static_cast<uint64_t>(position)))};
}

std::vector<UnitRef> Sampler::micro_batch(int64_t step, int64_t leaf) const {
  std::vector<UnitRef> units;
  for (int64_t slot = 0; slot < slots(); ++slot) units.push_back(at(step, leaf, slot));
  return units;
}

double Sampler::passes(UnitKind kind, size_t pool, int64_t steps) const {
  const auto k = static_cast<size_t>(kind);
  if (slots_[k] == 0 || pools_[k][pool].units == 0) return 0;
  return static_cast<double>(turns_[k].count(static_cast<int64_t>(pool), steps * leaves_ * slots_[k])) /
         static_cast<double>(pools_[k][pool].units);
}

}  // namespace tessera
