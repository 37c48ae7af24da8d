#pragma once
// Which operation a number belongs to, and whether that operation comes before the one that runs now.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "tests/simulated_gpu/checker/accessor.h"
#include "tests/simulated_gpu/checker/operation.h"

namespace simulated_gpu {

class OperationIndex {
 public:
  /// Renumbering is due when that many numbers are given, or that many ranges of them are known.
  explicit OperationIndex(uint32_t numbers_before_renumbering = kNumbers / 2,
                          size_t ranges_before_renumbering = 1 << 16);

  /// The operation runs now: it owns the numbers issued until the next call.
  void begin(OperationPointer operation);
  /// Throws std::runtime_error when one operation uses up all numbers.
  uint32_t issue();
  uint32_t next() const { return next_; }  ///< what issue() gives next

  /// Numbers below are all of operations before the one that runs now.  Others may be, too.
  uint32_t ordered_below() const { return ordered_below_; }
  /// True when every operation behind the number is the one that runs now or comes before it.
  bool is_ordered(uint32_t number);
  /// The first operation behind the number that does not come before the one that runs now, else the first of
  /// all.
  const Operation& culprit(uint32_t number) const;
  /// A number for the operations behind both that do not come before the one that runs now.
  uint32_t join(uint32_t a, uint32_t b);

  bool is_renumbering_due() const;
  /// Gives the accessors in the cells the lowest numbers that keep their order, without lanes, and forgets
  /// operations that no cell names.  Not while a launch runs.
  void renumber(const std::vector<std::span<Accessor>>& cells);

 private:
  /// Numbers from `first` up to the next range.  Several operations: readers that nothing orders among each
  /// other.
  struct Range {
    uint32_t first;
    std::vector<OperationPointer> operations;
  };
  struct Place {
    uint64_t count;  ///< on its timeline
    uint32_t first;
  };

  size_t find(uint32_t number) const;
  bool comes_before_current(const Operation& operation) const;
  void append(std::vector<OperationPointer> operations);
  void note_place(const Operation& operation, uint32_t first);

  uint32_t numbers_before_renumbering_;
  size_t ranges_before_renumbering_;
  uint32_t next_ = 1;
  uint32_t ordered_below_ = 1;
  std::vector<Range> ranges_;                  ///< ascending
  std::vector<std::vector<Place>> timelines_;  ///< by timeline, ascending in both members
  OperationPointer current_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> joined_;  ///< under the current operation
  struct {
    uint32_t from = 0, to = 0;
    bool is_ordered = false;
  } last_answer_;
};

}  // namespace simulated_gpu
