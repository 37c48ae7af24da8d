#pragma once
// Which units make up a micro-batch: a pure function of (seed, step, leaf, slot), so that any rank can ask
// for any micro-batch of any step, and a run resumes by continuing to count.

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

class Sampler {
 public:
  /// available: units of each kind.  slots: units of each kind in every micro-batch.  leaves: micro-batches
  /// of a step. Throws Error when a kind has slots but no units, when there are no slots at all, or leaves
  /// < 1.
  Sampler(PerKind available, PerKind slots, int64_t leaves, uint64_t seed);

  int64_t slots() const { return slots_[0] + slots_[1]; }
  int64_t leaves() const { return leaves_; }

  /// Slots of kind mixed come first.  Every kind is walked in the order of a permutation drawn by (seed,
  /// kind, epoch): within an epoch each unit comes once.  Throws Error when an index is out of range.
  /// Constant time.
  UnitRef at(int64_t step, int64_t leaf, int64_t slot) const;
  std::vector<UnitRef> micro_batch(int64_t step, int64_t leaf) const;

  /// How often the units of a kind have been seen when the first `steps` steps are done.
  double passes(UnitKind kind, int64_t steps) const;

 private:
  PerKind available_, slots_;
  int64_t leaves_;
  uint64_t seed_;
};

}  // namespace tessera
