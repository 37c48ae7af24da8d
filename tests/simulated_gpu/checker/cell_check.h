#pragma once
// Checks the accesses of one instruction (or one operation of a library) against what the shadow cells
// remember, and notes them there.

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
  uint64_t offset = 0;     ///< of the first byte that the first such lane lacks
  Accessor in_flight = 0;  ///< the asynchronous copy that would bring it, 0: nobody wrote it
};

/// Which accessors need no look at the history.
struct Settled {
  Accessor unwritten_below = accessor(1);  ///< as a writer: the byte was not written
  Accessor below = 0;                      ///< ordered before everything here
  Accessor from = 0, to = 0;               ///< as well

  bool contains(Accessor accessor) const { return (accessor < below) | (accessor - from < to - from); }
};

/// Lanes that follow each other and touch bytes that follow each other, or all the same bytes.
struct Segment {
  int first_lane = 0, lanes = 1;
  uint64_t bytes_per_lane = 0;
  bool is_same = false;

  uint64_t bytes() const { return is_same ? bytes_per_lane : bytes_per_lane * static_cast<uint64_t>(lanes); }
};

class CellCheck {
 public:
  /// Of an instruction of the running launch.
  CellCheck(History& history, const Settled& settled, const Access& access);
  /// Of an operation that is not a launch; it has one lane.
  CellCheck(History& history, AccessKind kind);

  /// The segment begins at an offset into the cells.
  void check(ShadowCells& cells, uint64_t offset, const Segment& segment);

  const Conflict& conflict() const { return conflict_; }  ///< the first
  const Absence& absence() const { return absence_; }

 private:
  /// The cells of a segment, and how many of them each lane has.
  struct Cells {
    Accessor *writer, *reader, *other_reader;
    size_t count, per_lane;
    int first_lane;
    bool is_same;
  };

  bool read_together(const Cells& cells);
  bool write_together(const Cells& cells);
  void read(const Cells& cells, size_t i, int lane, uint64_t offset);
  void write(const Cells& cells, size_t i, int lane, uint64_t offset);

  /// This access and an earlier one of the warp that is not ordered before it.
  Accessor self_with(Accessor earlier) const {
    return accessor(history_.number_of_both(number_of(earlier), number_), kSeveralLanes);
  }
  Accessor written_by(int lane) const { return self(lane) | write_flag_; }
  Accessor self(int lane) const { return accessor(number_, static_cast<uint32_t>(lane)); }
  int thread(int lane) const { return 32 * warp_ + lane; }
  bool is_ordered(Accessor earlier, int lane) {
    return settled_.contains(earlier) || history_.is_ordered(earlier, thread(lane));
  }
  bool is_atomic(Accessor earlier) const;
  bool all_settled(const Accessor* cells, size_t count) const;
  bool all_of_lanes(const Accessor* accessors, const Cells& cells, uint32_t number) const;
  bool need_no_look(const Accessor* accessors, const Cells& cells) const;
  bool note_reader_together(const Cells& cells);
  void note_reader(Accessor& reader, Accessor& other, int lane);
  bool check_writer(Accessor writer, int lane, uint64_t offset, bool needs_value);
  Accessor writer_after(Accessor before, int lane);
  void fill(Accessor* accessors, const Cells& cells, Accessor first) const;
  void note(Accessor earlier, bool earlier_wrote, int lane, uint64_t offset);
  void note_absence(Accessor in_flight, int lane, uint64_t offset);

  History& history_;
  const Settled settled_;
  const Access* access_;  ///< null: an operation that is not a launch
  const AccessKind kind_;
  const int warp_;
  const uint32_t number_;
  const Accessor write_flag_;  ///< kInFlight or 0
  Conflict conflict_;
  Absence absence_;
};

}  // namespace simulated_gpu
