#include "tests/simulated_gpu/checker/cell_check.h"

#include <algorithm>

namespace simulated_gpu {
namespace {

// The loops over cells collect differences in an integer, which the compiler turns into vector code.

/// True when all have the number, and none is in flight.
bool are_all_of(const Accessor* accessors, size_t count, uint32_t number) {
  uint32_t differences = 0;
  for (size_t i = 0; i < count; ++i) differences |= (accessors[i] >> kLaneBits) ^ number;
  return !differences;
}

}  // namespace

CellCheck::CellCheck(History& history, const Settled& settled, const Access& access)
    : history_(history),
      settled_(settled),
      access_(&access),
      kind_(access.kind),
      warp_(access.warp),
      number_(history.number_of_access(access)),
      write_flag_(access.is_asynchronous ? kInFlight : 0) {}

CellCheck::CellCheck(History& history, AccessKind kind)
    : history_(history),
      settled_{accessor(1), accessor(history.operations.ordered_below()), 0, 0},
      access_(nullptr),
      kind_(kind == AccessKind::atomic ? AccessKind::write : kind),
      warp_(0),
      number_(history.operations.issue()),
      write_flag_(0) {}

void CellCheck::check(ShadowCells& shadow, uint64_t offset, const Segment& segment) {
  if (segment.lanes > 1) shadow.range(offset, segment.bytes_per_lane);  // every lane has cells of its own
  const auto [first, count] = shadow.range(offset, segment.bytes());
  const size_t per_lane = segment.is_same ? count : count / static_cast<size_t>(segment.lanes);
  const Cells cells{
      shadow.writer() + first, shadow.reader() + first, shadow.other_reader() + first, count, per_lane,
      segment.first_lane,      segment.is_same};
  if (kind_ == AccessKind::read && read_together(cells)) return;
  if (kind_ == AccessKind::write && write_together(cells)) return;
  for (int part = 0; part < segment.lanes; ++part) {
    const size_t begin = segment.is_same ? 0 : static_cast<size_t>(part) * per_lane;
    for (size_t i = begin; i < begin + per_lane; ++i) {
      const uint64_t place = shadow.offset_of(first + i);
      if (kind_ == AccessKind::read)
        read(cells, i, segment.first_lane + part, place);
      else
        write(cells, i, segment.first_lane + part, place);
    }
  }
}

// Most accesses find nothing to look into: checked with few comparisons per cell.

bool CellCheck::all_settled(const Accessor* accessors, size_t count) const {
  const Settled settled = settled_;
  uint32_t others = 0;
  for (size_t i = 0; i < count; ++i) others |= settled.contains(accessors[i]) ? 0u : 1u;
  return !others;
}

/// True when each is of the number and the one lane that has the cell.
bool CellCheck::all_of_lanes(const Accessor* accessors, const Cells& cells, uint32_t number) const {
  if (cells.is_same) return false;
  const Accessor first = accessor(number, static_cast<uint32_t>(cells.first_lane));
  uint32_t differences = 0;
  const size_t lanes = cells.count / cells.per_lane;
  for (size_t i = 0; i < cells.per_lane; ++i)
    for (size_t lane = 0; lane < lanes; ++lane)
      differences |= accessors[lane * cells.per_lane + i] ^ (first + static_cast<Accessor>(lane));
  return !differences;
}

/// True when all are settled, or one access of the warp that is ordered before this one, or of the very
/// threads that come now.
bool CellCheck::need_no_look(const Accessor* accessors, const Cells& cells) const {
  if (all_settled(accessors, cells.count)) return true;
  const uint32_t number = number_of(accessors[0]);
  const AccessContext* context = history_.context_in_block(number);
  if (!context || context->warp != warp_ || accessors[0] & kInFlight) return false;
  if (all_of_lanes(accessors, cells, number)) return true;
  return history_.is_ordered_in_warp(*context) && are_all_of(accessors, cells.count, number);
}

/// Of the first lane, and the like of the others.
void CellCheck::fill(Accessor* accessors, const Cells& cells, Accessor first) const {
  if (cells.is_same) {
    std::fill_n(accessors, cells.count, accessor(number_, kSeveralLanes));
    return;
  }
  const size_t lanes = cells.count / cells.per_lane;
  for (size_t i = 0; i < cells.per_lane; ++i)
    for (size_t lane = 0; lane < lanes; ++lane)
      accessors[lane * cells.per_lane + i] = first + static_cast<Accessor>(lane);
}

bool CellCheck::read_together(const Cells& cells) {
  const bool all_written =
      *std::min_element(cells.writer, cells.writer + cells.count) >= settled_.unwritten_below;
  return all_written && need_no_look(cells.writer, cells) && note_reader_together(cells);
}

bool CellCheck::write_together(const Cells& cells) {
  if (cells.is_same || !need_no_look(cells.writer, cells) || !need_no_look(cells.reader, cells) ||
      !all_settled(cells.other_reader, cells.count))
    return false;
  // The readers stay: they come before this write, so whatever comes after it comes after them.
  fill(cells.writer, cells, written_by(cells.first_lane));
  return true;
}

/// As note_reader() for every cell.  False, and nothing is noted, when the cells differ too much.
bool CellCheck::note_reader_together(const Cells& cells) {
  if (!need_no_look(cells.reader, cells)) {
    const Accessor earlier = cells.reader[0];
    if (!are_all_of(cells.reader, cells.count, number_of(earlier))) return false;
    const AccessContext* context = history_.context(number_of(earlier));
    const bool is_in_block = context && history_.is_in_block(*context);
    if (is_in_block && context->warp == warp_) {
      if (!history_.is_same_epoch(*context)) return false;  // some lanes may have synchronised
      std::fill_n(cells.reader, cells.count, self_with(earlier));
      return true;
    }
    // Order between warps, and between operations, is the same for all lanes; between blocks it may not be.
    if (context && !is_in_block && history_.has_block_order()) return false;
    if (!history_.is_ordered(earlier, thread(cells.first_lane))) {
      const Accessor kept = cells.other_reader[0];
      if (!all_settled(cells.other_reader, cells.count) &&
          !(are_all_of(cells.other_reader, cells.count, number_of(kept)) &&
            history_.gives_way(kept, earlier)))
        return false;
      std::copy_n(cells.reader, cells.count, cells.other_reader);
    }
  }
  fill(cells.reader, cells, self(cells.first_lane));
  return true;
}

void CellCheck::note(Accessor earlier, bool earlier_wrote, int lane, uint64_t offset) {
  if (!conflict_.earlier) conflict_ = {lane, offset, earlier, earlier_wrote};
}

void CellCheck::note_absence(Accessor in_flight, int lane, uint64_t offset) {
  if (!absence_.lanes) absence_ = {0, offset, in_flight};
  absence_.lanes |= 1u << lane;
}

bool CellCheck::is_atomic(Accessor earlier) const {
  const AccessContext* context = history_.context(number_of(earlier));
  return context && context->is_atomic;
}

/// False when the earlier write is an atomic as this is one, and nothing orders them.
bool CellCheck::check_writer(Accessor writer, int lane, uint64_t offset, bool needs_value) {
  if (number_of(writer) < number_of(settled_.unwritten_below)) {
    if (needs_value) note_absence(0, lane, offset);
    return true;
  }
  if (settled_.contains(writer)) return true;
  if (writer & kInFlight && needs_value) {
    note_absence(writer, lane, offset);
    return true;
  }
  if (!(writer & kInFlight)) {
    if (history_.is_ordered(writer, thread(lane))) return true;
    if (kind_ == AccessKind::atomic && is_atomic(writer)) return false;
  }
  note(writer, true, lane, offset);
  return true;
}

void CellCheck::read(const Cells& cells, size_t i, int lane, uint64_t offset) {
  const Accessor writer = cells.writer[i];
  if (writer < settled_.unwritten_below || !settled_.contains(writer))
    check_writer(writer, lane, offset, true);
  Accessor& reader = cells.reader[i];
  if (settled_.contains(reader) || reader == self(lane))
    reader = self(lane);
  else
    note_reader(reader, cells.other_reader[i], lane);
}

/// The reader before this one is kept beside it while nothing orders them.
void CellCheck::note_reader(Accessor& reader, Accessor& other, int lane) {
  const AccessContext* context = history_.context_in_block(number_of(reader));
  const bool is_ordered = history_.is_ordered(reader, thread(lane));
  if (context && context->warp == warp_) {
    reader = is_ordered ? self(lane) : self_with(reader);
    return;
  }
  if (!is_ordered)
    other = settled_.contains(other) ? reader : history_.farther_reader(other, reader, thread(lane));
  reader = self(lane);
}

/// Atomics need no order among each other.  What comes after them must come after all of them.
Accessor CellCheck::writer_after(Accessor before, int lane) {
  const AccessContext* context = history_.context_in_block(number_of(before));
  if (!context) return self(lane);
  if (context->warp == warp_) return self_with(before);
  return accessor(history_.number_of_several_warps(*access_));
}

void CellCheck::write(const Cells& cells, size_t i, int lane, uint64_t offset) {
  Accessor& writer = cells.writer[i];
  Accessor& reader = cells.reader[i];
  Accessor& other = cells.other_reader[i];
  const bool is_after_writer = check_writer(writer, lane, offset, kind_ == AccessKind::atomic);
  if (!is_ordered(reader, lane)) note(reader, false, lane, offset);
  if (!is_ordered(other, lane)) note(other, false, lane, offset);
  // What comes after a write comes after all accesses before it.  Atomics come in no order, so what each of
  // them must come after, the readers and a plain write, stays.
  if (kind_ == AccessKind::write)
    reader = other = 0;
  else if (!settled_.contains(writer) && !is_atomic(writer))
    reader = writer;
  writer = is_after_writer ? written_by(lane) : writer_after(writer, lane);
}

}  // namespace simulated_gpu
