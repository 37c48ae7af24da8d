#include "launch/flight_timeline.h"

#include <algorithm>

#include "runtime/error.h"

namespace tessera {
namespace {

FlightOperation operation_of(const FlightRecord& record) {
  return static_cast<FlightOperation>(record.operation);
}

}  // namespace

Timeline::Timeline(const FlightRing& of) : ring(&of) {
  for (const FlightRecord& record : of.records)
    if (record.group != 0) by_group[record.group].try_emplace(record.sequence, record);
  if (!of.records.empty()) last = of.records.back();
  if (of.inside_group == 0) return;
  if (const FlightRecord* entered = call(of.inside_group, of.inside_sequence)) inside = *entered;
  inside.group = of.inside_group;
  inside.sequence = of.inside_sequence;
  inside.time_ns = of.inside_since_ns;
}

bool Timeline::is_member(uint64_t group) const {
  return std::ranges::any_of(ring->groups, [group](const FlightGroup& in) { return in.id == group; });
}

const Timeline::Calls& Timeline::calls(uint64_t group) const {
  static const Calls kNone;
  const auto found = by_group.find(group);
  return found == by_group.end() ? kNone : found->second;
}

const FlightRecord* Timeline::call(uint64_t group, uint64_t sequence) const {
  const Calls& known = calls(group);
  const auto found = known.find(sequence);
  return found == known.end() ? nullptr : &found->second;
}

uint64_t Timeline::issued(uint64_t group) const {
  return calls(group).empty() ? 0 : calls(group).rbegin()->first;
}

bool same_call(const FlightRecord& a, const FlightRecord& b) {
  return same_purpose(a, b) && a.dtype == b.dtype && a.count == b.count && a.result == b.result;
}

bool same_purpose(const FlightRecord& a, const FlightRecord& b) {
  return a.operation == b.operation && std::string_view(a.about) == b.about;
}

bool belong_together(const FlightRecord& a, const FlightRecord& b) {
  if (!same_purpose(a, b)) return false;
  switch (operation_of(a)) {
    case FlightOperation::split:  // colours and keys are each rank's own
    case FlightOperation::barrier:
      return true;
    case FlightOperation::all_to_all:
      return a.dtype == b.dtype;
    default:
      return same_call(a, b);
  }
}

std::string short_name(const FlightRecord& record) {
  return str(name_of(operation_of(record)), record.about[0] ? " for " : "", record.about);
}

std::string describe(const FlightRecord& record) {
  const std::string place = str("step ", record.step, ", round ", record.round, ", ",
                                name_of(static_cast<FlightPhase>(record.phase)));
  return record.group == 0 ? place : str(short_name(record), " (", place, ")");
}

std::string size_of(const FlightRecord& record) {
  const DType dtype{record.dtype};
  return operation_of(record) == FlightOperation::broadcast
             ? str(record.count, " ", dtype, " from rank ", record.result)
             : str(record.count, " ", dtype, " into ", record.result);
}

}  // namespace tessera
