#include "data/sampler.h"

#include "runtime/error.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr Purpose kEpoch[] = {Purpose("order of mixed units"), Purpose("order of text units")};

}  // namespace

Sampler::Sampler(PerKind available, PerKind slots, int64_t leaves, uint64_t seed)
    : available_(available), slots_(slots), leaves_(leaves), seed_(seed) {
  TESSERA_CHECK(leaves >= 1, "sampler: a step has at least one micro-batch, got ", leaves);
  TESSERA_CHECK(slots[0] >= 0 && slots[1] >= 0 && this->slots() >= 1,
                "sampler: a micro-batch has at least one unit, got ", slots[0], " mixed and ", slots[1],
                " text");
  for (UnitKind kind : {UnitKind::mixed, UnitKind::text}) {
    const auto k = static_cast<size_t>(kind);
    TESSERA_CHECK(slots[k] == 0 || available[k] > 0, "sampler: micro-batches ask for ", slots[k], " ",
                  name_of(kind), " units each, but the dataset has none");
  }
}

UnitRef Sampler::at(int64_t step, int64_t leaf, int64_t slot) const {
  TESSERA_CHECK(step >= 0 && 0 <= leaf && leaf < leaves_ && 0 <= slot && slot < slots(), "sampler: no step ",
                step, " leaf ", leaf, " slot ", slot, ": ", leaves_, " leaves of ", slots(), " slots");
  const UnitKind kind = slot < slots_[0] ? UnitKind::mixed : UnitKind::text;
  const auto k = static_cast<size_t>(kind);
  const int64_t slot_of_kind = kind == UnitKind::mixed ? slot : slot - slots_[0];
  const int64_t drawn =
      (step * leaves_ + leaf) * slots_[k] + slot_of_kind;  // units of this kind drawn before
  const int64_t epoch = drawn / available_[k], position = drawn % available_[k];
  const uint64_t epoch_seed = random_u64(seed_, kEpoch[k], static_cast<uint64_t>(epoch));
  return {kind,
          static_cast<int64_t>(random_permutation(epoch_seed, kEpoch[k], static_cast<uint64_t>(available_[k]),
                                                  static_cast<uint64_t>(position)))};
}

std::vector<UnitRef> Sampler::micro_batch(int64_t step, int64_t leaf) const {
  std::vector<UnitRef> units;
  for (int64_t slot = 0; slot < slots(); ++slot) units.push_back(at(step, leaf, slot));
  return units;
}

double Sampler::passes(UnitKind kind, int64_t steps) const {
  const auto k = static_cast<size_t>(kind);
  if (available_[k] == 0) return 0;
  return static_cast<double>(steps * leaves_ * slots_[k]) / static_cast<double>(available_[k]);
}

}  // namespace tessera
