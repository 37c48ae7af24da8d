#pragma once
// Checks the accesses of one instruction (or one operation of a library) against what the shadow cells remember, and notes them
// there.

#include <cstdint>

#include "tests/simulated_gpu/checker/history.h"
#include "tests/simulated_gpu/checker/shadow_cells.h"

namespace simulated_gpu {

/// Two accesses that nothing orders.
struct Conflict {
  int lane = 0;          ///< of the later one
  uint64_t offset = 0;   ///< of the byte, in its cells
  Accessor earlier = 0;  ///< 0: there is no conflict
  bool earlier_wrote = false;
};

/// A read of what is not there.
struct Absence {
  uint32_t lanes = 0;
  uint64_t offset = 0;     ///< of the first byte that the lowest lane lacks
  Accessor in_flight = 0;  ///< the asynchronous copy that would bring it, 0: nobody wrote it
};

/// Which accessors need no look at the history.
struct Settled {
  Accessor unwritten_below = accessor(1);  ///< as a writer: the byte was not written
  Accessor below = 0;                      ///< ordered before everything here
  Accessor from = 0, to = 0;               ///< as well

  bool contains(Accessor accessor) const { return accessor < below || accessor - from < to - from; }
};

class CellCheck {
 public:
  /// warp 0 where no launch runs.
  CellCheck(History& history, const Settled& settled, const Access* access, int warp, uint32_t number);

  void read(ShadowCells& cells, ShadowCells::Range range, int lane);
  void write(ShadowCells& cells, ShadowCells::Range range, int lane);
  /// All of it at once when no cell needs a closer look, else false and nothing is noted.  Lane i has the i-th of `lanes` equal
  /// parts of the range, counted from first_lane.
  bool read_run(ShadowCells& cells, ShadowCells::Range range, int first_lane, int lanes);
  bool write_run(ShadowCells& cells, ShadowCells::Range range, int first_lane, int lanes);
  /// All lanes read the same bytes.
  bool read_broadcast(ShadowCells& cells, ShadowCells::Range range);

  const Conflict& conflict() const { return conflict_; }  ///< the first
  const Absence& absence() const { return absence_; }

 private:
  int thread(int lane) const { return 32 * warp_ + lane; }
  bool is_ordered(Accessor earlier, int lane) {
    return settled_.contains(earlier) || history_.is_ordered(earlier, thread(lane));
  }
  bool is_atomic(Accessor earlier) const;
  bool is_of_own_warp(Accessor earlier) const;
  bool needs_no_look(const Accessor* cells, size_t parts, size_t cells_per_part, int first_lane,
                     Accessor from) const;
  void note(Accessor earlier, bool earlier_wrote, int lane, uint64_t offset);
  void note_absence(Accessor in_flight, int lane, uint64_t offset);
  bool check_writer(Accessor writer, int lane, uint64_t offset, bool needs_value);
  Accessor writer_after(Accessor before, int lane);

  History& history_;
  const Settled settled_;
  const Access* access_;  ///< null: an operation that is not a launch
  const int warp_;
  const uint32_t number_;
  const bool is_atomic_;
  Conflict conflict_;
  Absence absence_;
};

}  // namespace simulated_gpu
