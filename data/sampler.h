#pragma once
// Which units make up a micro-batch: a pure function of (seed, step, leaf, slot), so that any rank can ask
// for any micro-batch of any step, and a run resumes by continuing to count.  There is no state.

#include <array>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace tessera {

/// Units of one kind all hold the same number of images, so the modality ratio of a micro-batch follows from
/// how many units of each kind it has.
enum class UnitKind : uint8_t {
  mixed,  ///< exactly images_per_unit images, the rest text
  text,   ///< no image
};
inline constexpr int kUnitKinds = 2;
inline constexpr const char* name_of(UnitKind kind) { return kind == UnitKind::mixed ? "mixed" : "text"; }

/// One value per kind, indexed by static_cast<size_t>(UnitKind).
using PerKind = std::array<int64_t, kUnitKinds>;

struct UnitRef {
  UnitKind kind = UnitKind::mixed;
  int64_t unit = 0;  ///< in [0, units of the kind)
  friend bool operator==(UnitRef, UnitRef) = default;
};
inline std::ostream& operator<<(std::ostream& out, UnitRef ref) {
  return out << name_of(ref.kind) << ' ' << ref.unit;
}

/// Units [first, first + units) of one kind, walked pass after pass: each once in a pass, in an order drawn for the pass.
struct UnitPool {
  int64_t first = 0;
  int64_t units = 0;
  int64_t weight = 1;  ///< its share of the kind's slots is weight / the sum of the pools' weights
};
using PoolsPerKind = std::array<std::vector<UnitPool>, kUnitKinds>;

/// Deals turns to pools: of the first n turns a pool gets its share to within less than one turn, for every n.
///
/// Turn k of a pool of weight w, of weights that sum to p, may fall into turns [floor(k p / w), ceil((k + 1) p / w)); of the
/// pools that may have a turn the one whose time runs out first gets it.  Source: Baruah, Cohen, Plaxton and Varvel,
/// Proportionate progress, Algorithmica 1996.
class Turns {
 public:
  static constexpr int64_t kMostWeight = 1 << 16;  ///< of the sum of weights without their common divisor

  /// Throws Error when no weight is positive, one is negative, or the sum is more than kMostWeight.
  explicit Turns(std::vector<int64_t> weights);

  struct Turn {
    int64_t pool = 0;
    int64_t number = 0;  ///< turns that the pool had before
  };
  Turn at(int64_t turn) const;  ///< constant time
  /// Turns of a pool among the first `turns`.  Time in proportion to the sum of weights at most.
  int64_t count(int64_t pool, int64_t turns) const;

 private:
  std::vector<int64_t> weights_;  ///< without their common divisor
  std::vector<Turn> period_;      ///< turns repeat after the sum of weights
};

class Sampler {
 public:
  /// pools: units to draw from, of each kind.  slots: units of each kind in every micro-batch.  leaves: micro-batches of a
  /// step.  Pools without units or weight get no slots.  Throws Error when a kind has slots but no such pool, when there are
  /// no slots at all, leaves < 1, or for weights as Turns does.
  Sampler(PoolsPerKind pools, PerKind slots, int64_t leaves, uint64_t seed);

  int64_t slots() const { return slots_[0] + slots_[1]; }
  int64_t leaves() const { return leaves_; }

  /// Slots of kind mixed come first.  The slots of a kind, numbered on over leaves and steps, are dealt to its pools by
  /// Turns; every pool is walked in the order of a permutation drawn by (seed, kind, pool, pass): within a pass each unit
  /// comes once.  Throws Error when an index is out of range.  Constant time.
  UnitRef at(int64_t step, int64_t leaf, int64_t slot) const;
  std::vector<UnitRef> micro_batch(int64_t step, int64_t leaf) const;

  /// How often the units of a pool have been seen when the first `steps` steps are done.
  double passes(UnitKind kind, size_t pool, int64_t steps) const;

 private:
  PoolsPerKind pools_;
  std::vector<Turns> turns_;  ///< of each kind; of a kind without slots they are not asked
  PerKind slots_;
  int64_t leaves_;
  uint64_t seed_;
};

}  // namespace tessera
