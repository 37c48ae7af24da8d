#include "tests/simulated_gpu/checker/cell_check.h"

#include <algorithm>

namespace simulated_gpu {

CellCheck::CellCheck(History& history, const Settled& settled, const Access* access, int warp,
                     uint32_t number)
    : history_(history),
      settled_(settled),
      access_(access),
      warp_(warp),
      number_(number),
      is_atomic_(access && access->kind == AccessKind::atomic) {}

bool CellCheck::is_atomic(Accessor earlier) const {
  const AccessContext* context = history_.context(number_of(earlier));
  return context && context->is_atomic;
}

bool CellCheck::is_of_own_warp(Accessor earlier) const {
  if (earlier < accessor(history_.block_first())) return false;
  const AccessContext* context = history_.context(number_of(earlier));
  return context && context->warp == warp_;
}

void CellCheck::note(Accessor earlier, bool earlier_wrote, int lane, uint64_t offset) {
  if (!conflict_.earlier) conflict_ = {lane, offset, earlier, earlier_wrote};
}

void CellCheck::note_absence(Accessor in_flight, int lane, uint64_t offset) {
  if (!absence_.lanes) absence_ = {0, offset, in_flight};
  absence_.lanes |= 1u << lane;
}

/// True when the earlier write, if any, comes before this access.
bool CellCheck::check_writer(Accessor writer, int lane, uint64_t offset, bool needs_value) {
  if (writer < settled_.unwritten_below) {
    if (needs_value) note_absence(0, lane, offset);
    return true;
  }
  if (settled_.contains(writer)) return true;
  const AccessContext* context = history_.context(number_of(writer));
  if (context && context->is_in_flight) {
    if (needs_value)
      note_absence(writer, lane, offset);
    else
      note(writer, true, lane, offset);
    return true;
  }
  if (is_atomic_ && is_atomic(writer)) return history_.is_ordered(writer, thread(lane));
  if (history_.is_ordered(writer, thread(lane))) return true;
  note(writer, true, lane, offset);
  return true;
}

void CellCheck::read(ShadowCells& cells, ShadowCells::Range range, int lane) {
  const Accessor self = accessor(number_, static_cast<uint32_t>(lane));
  for (size_t i = range.first; i < range.first + range.count; ++i) {
    check_writer(cells.writer()[i], lane, cells.offset_of(i), true);
    Accessor& reader = cells.reader()[i];
    if (reader != self && !is_ordered(reader, lane)) {
      if (is_of_own_warp(reader)) {
        reader = accessor(number_, kSeveralLanes);
        continue;
      }
      Accessor& other = cells.other_reader()[i];
      other = settled_.contains(other) ? reader : history_.farther_reader(other, reader, thread(lane));
    }
    reader = self;
  }
}

/// Atomics need no order among each other.  What comes after them must come after all of them.
Accessor CellCheck::writer_after(Accessor before, int lane) {
  const Accessor self = accessor(number_, static_cast<uint32_t>(lane));
  const AccessContext* context = history_.context(number_of(before));
  if (!context || context->block != history_.context(number_)->block) return self;
  if (context->warp == warp_) return accessor(number_, kSeveralLanes);
  return accessor(history_.number_of_several_warps(*access_));
}

void CellCheck::write(ShadowCells& cells, ShadowCells::Range range, int lane) {
  for (size_t i = range.first; i < range.first + range.count; ++i) {
    const uint64_t offset = cells.offset_of(i);
    Accessor& writer = cells.writer()[i];
    Accessor& reader = cells.reader()[i];
    Accessor& other = cells.other_reader()[i];
    const bool is_after_writer = check_writer(writer, lane, offset, is_atomic_);
    if (!is_ordered(reader, lane)) note(reader, false, lane, offset);
    if (!is_ordered(other, lane)) note(other, false, lane, offset);
    writer = is_after_writer ? accessor(number_, static_cast<uint32_t>(lane)) : writer_after(writer, lane);
    reader = other = 0;
  }
}

/// True when all cells are settled (from `from` on), or all were last touched by the same thread that does it now.
bool CellCheck::needs_no_look(const Accessor* cells, size_t parts, size_t cells_per_part, int first_lane,
                              Accessor from) const {
  const size_t count = parts * cells_per_part;
  bool all_settled = true;
  for (size_t i = 0; i < count; ++i) all_settled &= (cells[i] >= from) & settled_.contains(cells[i]);
  if (all_settled) return true;
  const Accessor first = accessor(number_of(cells[0]), static_cast<uint32_t>(first_lane));
  bool all_own = true;
  for (size_t part = 0; part < parts; ++part)
    for (size_t i = 0; i < cells_per_part; ++i)
      all_own &= cells[part * cells_per_part + i] == first + static_cast<Accessor>(part);
  if (!all_own || !is_of_own_warp(first)) return false;
  return !history_.context(number_of(first))->is_in_flight;
}

bool CellCheck::read_run(ShadowCells& cells, ShadowCells::Range range, int first_lane, int lanes) {
  const size_t parts = static_cast<size_t>(lanes), each = range.count / parts;
  Accessor* reader = cells.reader() + range.first;
  if (!needs_no_look(cells.writer() + range.first, parts, each, first_lane, settled_.unwritten_below) ||
      !needs_no_look(reader, parts, each, first_lane, 0))
    return false;
  const Accessor first = accessor(number_, static_cast<uint32_t>(first_lane));
  for (size_t part = 0; part < parts; ++part)
    for (size_t i = 0; i < each; ++i) reader[part * each + i] = first + static_cast<Accessor>(part);
  return true;
}

bool CellCheck::write_run(ShadowCells& cells, ShadowCells::Range range, int first_lane, int lanes) {
  const size_t parts = static_cast<size_t>(lanes), each = range.count / parts;
  Accessor* writer = cells.writer() + range.first;
  const Accessor* other = cells.other_reader() + range.first;
  if (!needs_no_look(writer, parts, each, first_lane, 0) ||
      !needs_no_look(cells.reader() + range.first, parts, each, first_lane, 0) ||
      !needs_no_look(other, parts, each, first_lane, 0))
    return false;
  // The readers stay: they come before this write, so whatever comes after it comes after them.
  const Accessor first = accessor(number_, static_cast<uint32_t>(first_lane));
  for (size_t part = 0; part < parts; ++part)
    for (size_t i = 0; i < each; ++i) writer[part * each + i] = first + static_cast<Accessor>(part);
  return true;
}

bool CellCheck::read_broadcast(ShadowCells& cells, ShadowCells::Range range) {
  for (size_t i = range.first; i < range.first + range.count; ++i) {
    const Accessor writer = cells.writer()[i], reader = cells.reader()[i];
    if (writer < settled_.unwritten_below || !settled_.contains(writer)) return false;
    if (!settled_.contains(reader) && !is_of_own_warp(reader)) return false;
  }
  std::fill_n(cells.reader() + range.first, range.count, accessor(number_, kSeveralLanes));
  return true;
}

}  // namespace simulated_gpu
