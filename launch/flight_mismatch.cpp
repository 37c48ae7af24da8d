#include "launch/flight_mismatch.h"

#include <algorithm>
#include <set>

namespace tessera {
namespace {

/// What members of a group issued as one collective.
struct Meeting {
  FlightRecord of(const Timeline* member) const { return *member->call(group, sequence); }

  uint64_t group, sequence;
  std::vector<const Timeline*> members;  ///< those that remember it
  size_t size;                           ///< ranks of the group
};

/// What the rank did itself at the latest earlier point with the longest equal past; null when it has none.
const FlightRecord* expected(const Timeline& timeline, uint64_t group, uint64_t sequence) {
  const Timeline::Calls& calls = timeline.calls(group);
  const FlightRecord* best = nullptr;
  uint64_t longest = 0;
  for (uint64_t place = sequence - 1; place > 1 && !calls.empty() && place > calls.begin()->first; --place) {
    uint64_t length = 0;
    while (length + 1 < place) {
      const FlightRecord* then = timeline.call(group, place - length - 1);
      const FlightRecord* now = timeline.call(group, sequence - length - 1);
      if (!then || !now || !same_call(*then, *now)) break;
      ++length;
    }
    const FlightRecord* here = timeline.call(group, place);
    if (length <= longest || !here) continue;
    longest = length;
    best = here;
  }
  return best;
}

/// Who departs where members differ: those outside the majority, else those who depart from what they did before.  Empty
/// when neither tells.
std::vector<const Timeline*> departing(const Meeting& meeting) {
  for (const Timeline* model : meeting.members) {
    std::vector<const Timeline*> others = meeting.members;
    std::erase_if(others, [&](const Timeline* one) { return same_call(meeting.of(one), meeting.of(model)); });
    if (2 * others.size() < meeting.members.size()) return others;
  }
  std::vector<const Timeline*> others = meeting.members;
  std::erase_if(others, [&](const Timeline* one) {
    return !departs_from_itself(*one, meeting.group, meeting.sequence);
  });
  return others.size() < meeting.members.size() ? others : std::vector<const Timeline*>();
}

bool differ(const Meeting& meeting) {
  int64_t sent = 0, awaited = 0;
  const FlightRecord first = meeting.of(meeting.members[0]);
  for (const Timeline* member : meeting.members) {
    const FlightRecord call = meeting.of(member);
    if (!belong_together(first, call)) return true;
    sent += call.count;
    awaited += call.result;
  }
  const bool is_whole = meeting.members.size() == meeting.size;
  return is_whole && first.operation == static_cast<uint8_t>(FlightOperation::all_to_all) && sent != awaited;
}

std::optional<Meeting> first_difference(std::span<const Timeline> timelines, uint64_t group) {
  std::set<uint64_t> sequences;
  for (const Timeline& timeline : timelines)
    for (const auto& [sequence, record] : timeline.calls(group)) sequences.insert(sequence);
  for (uint64_t sequence : sequences) {
    Meeting meeting{.group = group, .sequence = sequence, .members = {}, .size = 0};
    for (const Timeline& timeline : timelines) {
      if (timeline.is_member(group)) ++meeting.size;
      if (timeline.call(group, sequence)) meeting.members.push_back(&timeline);
    }
    if (meeting.members.size() > 1 && differ(meeting)) return meeting;
  }
  return std::nullopt;
}

Verdict undecided(const Meeting& meeting) {
  Verdict verdict{.fault = Fault::resized, .at = meeting.of(meeting.members[0])};
  verdict.sentence = "ranks differ, and no earlier step tells which is right:";
  for (const Timeline* member : meeting.members) {
    const FlightRecord call = meeting.of(member);
    if (!same_purpose(call, verdict.at)) verdict.fault = Fault::reordered;
    verdict.sentence += str(member == meeting.members[0] ? " " : "; ", "rank ", member->ring->rank,
                            " issued ", describe(call), " with ", size_of(call));
  }
  return verdict;
}

Verdict verdict_on(const Meeting& meeting) {
  const std::vector<const Timeline*> wrong = departing(meeting);
  if (wrong.empty()) return undecided(meeting);
  const Timeline& member = *wrong[0];
  const Timeline& model = **std::ranges::find_if(
      meeting.members, [&](const Timeline* one) { return std::ranges::find(wrong, one) == wrong.end(); });
  const FlightRecord did = meeting.of(&member), due = meeting.of(&model);
  const uint64_t next = meeting.sequence + 1;
  Verdict verdict{.rank = member.ring->rank, .at = due};
  if (same_purpose(did, due)) {
    const FlightRecord* usual = expected(member, meeting.group, meeting.sequence);
    const bool is_own = usual && departs_from_itself(member, meeting.group, meeting.sequence);
    verdict.fault = Fault::resized;
    verdict.sentence =
        str(list_of(wrong), " passed ", size_of(did), " to ", describe(due), ", where ",
            is_own ? "it passed " + size_of(*usual) + " before" : "others pass " + size_of(due));
    return verdict;
  }
  const FlightRecord* did_next = member.call(meeting.group, next);
  const FlightRecord* due_next = model.call(meeting.group, next);
  if (!due_next) due_next = expected(model, meeting.group, next);
  const bool came_late = did_next && same_purpose(*did_next, due);
  const bool is_known = std::ranges::any_of(
      model.calls(meeting.group), [&](const auto& entry) { return same_purpose(entry.second, did); });
  if (came_late && due_next && same_purpose(*due_next, did)) {
    verdict.fault = Fault::reordered;
    verdict.sentence = str(list_of(wrong), " issued ", short_name(did), " before ", describe(due),
                           ", which comes first on other ranks");
  } else if (came_late || !is_known) {
    verdict.fault = Fault::extra;
    verdict.sentence = str(list_of(wrong), " issued ", short_name(did), " before ", describe(due),
                           ", which other ranks do not");
  } else {
    verdict.fault = Fault::skipped;
    verdict.sentence = str(list_of(wrong), " skipped ", describe(due), " and went on to ", short_name(did));
  }
  return verdict;
}

}  // namespace

bool departs_from_itself(const Timeline& timeline, uint64_t group, uint64_t sequence) {
  const FlightRecord* usual = expected(timeline, group, sequence);
  const FlightRecord* did = timeline.call(group, sequence);
  return usual && did && !same_call(*usual, *did);
}

std::string list_of(const std::vector<const Timeline*>& members) {
  std::string text = members.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < members.size(); ++i)
    text += str(i == 0 ? "" : i + 1 == members.size() ? " and " : ", ", members[i]->ring->rank);
  return text;
}

std::optional<Verdict> find_mismatch(std::span<const Timeline> timelines) {
  std::set<uint64_t> groups;
  for (const Timeline& timeline : timelines)
    for (const auto& [group, calls] : timeline.by_group) groups.insert(group);
  std::optional<Verdict> earliest;
  for (uint64_t group : groups) {
    const std::optional<Meeting> meeting = first_difference(timelines, group);
    if (!meeting) continue;
    const Verdict found = verdict_on(*meeting);
    if (!earliest || found.at.time_ns < earliest->at.time_ns) earliest = found;
  }
  return earliest;
}

}  // namespace tessera
