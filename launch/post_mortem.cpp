#include "launch/post_mortem.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "launch/flight_mismatch.h"
#include "launch/flight_timeline.h"

namespace tessera {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
/// Ranks that wait less than this are at work.
constexpr int64_t kWaiting = 2 * kSecond;

using Members = std::vector<const Timeline*>;

std::string seconds(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) * 1e-9);
  return text;
}

/// Of life.
int64_t last_sign_of(const FlightRing& ring) { return std::max(ring.alive_ns, ring.last_ns); }

bool is_running(const Timeline& one) { return one.ring->process == ProcessState::running; }
bool has_finished(const Timeline& one) { return one.ring->end == FlightEnd::finished; }

/// As the first watchdog saw them, if one found a hang: the end of a job wakes suspended processes once more.
std::vector<FlightRing> up_to_a_hang(std::vector<FlightRing> rings) {
  std::optional<int64_t> hang;
  for (const FlightRing& ring : rings)
    if (ring.end == FlightEnd::hang) hang = std::min(hang.value_or(ring.ended_ns), ring.ended_ns);
  if (!hang) return rings;
  for (FlightRing& ring : rings) {
    if (ring.gap_begin_ns < *hang && *hang < ring.gap_end_ns) ring.alive_ns = ring.gap_begin_ns;
    if (ring.inside_since_ns > *hang) ring.inside_group = 0;
    std::erase_if(ring.records, [&](const FlightRecord& record) { return record.time_ns > *hang; });
    ring.last_ns = ring.records.empty() ? 0 : ring.records.back().time_ns;
  }
  return rings;
}

/// Ranks that agree in what they issue: which of them is not there any more, or not yet.
class Roll {
 public:
  explicit Roll(const std::vector<Timeline>& timelines) : timelines_(timelines) {
    // The job is taken down after the first rank that ends; what the others do meanwhile says nothing.
    std::optional<int64_t> first_end;
    for (const Timeline& one : timelines) {
      const FlightRing& ring = *one.ring;
      now_ = std::max(now_, ring.alive_ns);
      last_record_ns_ = std::max(last_record_ns_, one.last.time_ns);
      if (ring.end == FlightEnd::error || ring.end == FlightEnd::hang)
        first_end = std::min(first_end.value_or(ring.ended_ns), ring.ended_ns);
    }
    now_ = first_end.value_or(now_);
  }

  Verdict verdict() const {
    const bool hangs =
        std::ranges::any_of(timelines_, [](const Timeline& one) { return one.ring->end == FlightEnd::hang; });
    if (const std::optional<Verdict> found = dead(hangs)) return *found;
    if (const std::optional<Verdict> found = failed()) return *found;
    const int64_t watchdog_ns = timelines_[0].ring->watchdog_ns;
    const int64_t patience = watchdog_ns > 0 ? std::min(kWaiting, watchdog_ns) : kWaiting;
    const bool at_work = !hangs && now_ - last_record_ns_ < patience;
    if (at_work || std::ranges::all_of(timelines_, has_finished)) return nothing();
    if (const std::optional<Verdict> found = missing()) return *found;
    const Members late = roots();
    return late.empty() ? stuck() : behind(late);
  }

 private:
  std::optional<Verdict> dead(bool hangs) const {
    const bool live = std::ranges::any_of(timelines_, is_running);
    const Timeline* quiet = nullptr;
    for (const Timeline& one : timelines_) {
      if (one.ring->end != FlightEnd::none) continue;
      const bool seen_dead =
          live && (one.ring->process == ProcessState::stopped || one.ring->process == ProcessState::gone);
      // While a job lasts, what another machine wrote a moment ago may not be visible here yet; and who brings about a
      // hang by its death has been dead for all of the time-out.
      const int64_t allowed =
          live || hangs ? std::max(kMissingHeartbeatNs, one.ring->watchdog_ns / 2) : kMissingHeartbeatNs;
      if (!seen_dead && now_ - last_sign_of(*one.ring) < allowed) continue;
      if (!quiet || last_sign_of(*one.ring) < last_sign_of(*quiet->ring)) quiet = &one;
    }
    if (!quiet) return std::nullopt;
    const FlightRing& ring = *quiet->ring;
    const FlightRecord at = owed(*quiet);
    const std::string ago = seconds(now_ - last_sign_of(ring));
    return Verdict{
        .fault = Fault::dead,
        .rank = ring.rank,
        .at = at,
        .sentence = str("rank ", ring.rank, " (process ", ring.pid, " on ", ring.host, ") ",
                        ring.process == ProcessState::stopped ? "has been suspended for " + ago
                                                              : "was killed or suspended " + ago + " ago",
                        not_come_to(at), "; ", last_of(*quiet), who_waits(*quiet))};
  }

  std::optional<Verdict> failed() const {
    const Timeline* first = nullptr;
    for (const Timeline& one : timelines_)
      if (one.ring->end == FlightEnd::error && (!first || one.ring->ended_ns < first->ring->ended_ns))
        first = &one;
    if (!first) return std::nullopt;
    return Verdict{.fault = Fault::failed,
                   .rank = first->ring->rank,
                   .at = first->last,
                   .sentence = str("rank ", first->ring->rank,
                                   " ended with an error: ", first->ring->last_words, "; ", last_of(*first))};
  }

  std::optional<Verdict> missing() const {
    for (int rank = 0; rank < timelines_[0].ring->ranks; ++rank)
      if (std::ranges::none_of(timelines_, [&](const Timeline& one) { return one.ring->rank == rank; }))
        return Verdict{
            .fault = Fault::dead,
            .rank = rank,
            .at = timelines_[0].last,
            .sentence = str("rank ", rank, " left no flight recorder that can be read, and the others hang")};
    return std::nullopt;
  }

  /// Whether a rank waits for this one; entered: in a collective that this one has entered too.
  bool is_waited_for(const Timeline& one, bool entered) const {
    return std::ranges::any_of(timelines_, [&](const Timeline& other) {
      return other.blocked() && one.is_member(other.inside.group) &&
             (one.issued(other.inside.group) >= other.inside.sequence) == entered;
    });
  }

  /// The ranks that wait for nobody: those that others wait for, because they have not come to a collective or, when there
  /// are none, have not come back to it; all, when nobody waits.
  Members roots() const {
    Members free;
    for (const Timeline& one : timelines_)
      if (!one.blocked() && !has_finished(one)) free.push_back(&one);
    for (bool entered : {false, true}) {
      Members late = free;
      std::erase_if(late, [&](const Timeline* one) { return !is_waited_for(*one, entered); });
      if (!late.empty()) return late;
    }
    return std::ranges::any_of(timelines_, &Timeline::blocked) ? Members{} : free;
  }

  Verdict behind(const Members& late) const {
    const Timeline& last =
        **std::ranges::min_element(late, {}, [](const Timeline* one) { return one->last.time_ns; });
    Verdict verdict{.fault = Fault::slow, .rank = last.ring->rank, .at = owed(last)};
    std::string what = str("is behind, in phase ", name_of(last.phase()));
    if (last.phase() == FlightPhase::loader) {
      verdict.fault = Fault::stalled_loader;
      what = "waits for its loader";
    } else if (last.phase() == FlightPhase::save) {
      verdict.fault = Fault::stalled_save;
      what = "does not get on with its save";
    }
    verdict.sentence = str("rank ", last.ring->rank, " ", what, not_come_to(verdict.at), "; ", last_of(last),
                           who_waits(last));
    return verdict;
  }

  /// Every rank waits.
  Verdict stuck() const {
    const auto since = [](const Timeline& one) { return one.blocked() ? one.inside.time_ns : INT64_MAX; };
    const Timeline& one = *std::ranges::min_element(timelines_, {}, since);
    Members all, elsewhere;
    for (const Timeline& other : timelines_) {
      if (!other.is_member(one.inside.group)) continue;
      all.push_back(&other);
      if (other.blocked() && other.issued(one.inside.group) < one.inside.sequence)
        elsewhere.push_back(&other);
    }
    if (elsewhere.empty())
      return {.fault = Fault::stuck,
              .rank = -1,
              .at = one.inside,
              .sentence = str(list_of(all), " are in ", describe(one.inside),
                              ", which does not complete: look at the network and the MPI library")};
    const auto strange = std::ranges::find_if(elsewhere, [](const Timeline* other) {
      return departs_from_itself(*other, other->inside.group, other->inside.sequence);
    });
    const Timeline& other = strange != elsewhere.end() ? **strange : *elsewhere[0];
    return {.fault = Fault::reordered,
            .rank = strange != elsewhere.end() ? other.ring->rank : -1,
            .at = one.inside,
            .sentence = str("rank ", other.ring->rank, " is in ", describe(other.inside), ", rank ",
                            one.ring->rank, " in ", describe(one.inside), ": each waits for the other")};
  }

  Verdict nothing() const {
    Verdict verdict{.at = timelines_[0].last};
    if (std::ranges::all_of(timelines_, has_finished))
      verdict.sentence = str("nothing is wrong: all ranks finished, the last step was ", verdict.at.step);
    else if (std::ranges::any_of(timelines_, is_running))
      verdict.sentence = str("nothing is wrong: the run is at ", describe(verdict.at));
    else
      verdict.sentence = str("no rank was behind: the job was ended from outside, at ", describe(verdict.at));
    return verdict;
  }

  /// The collective that others have entered and this rank has not, else the one that others wait for, else its last record.
  FlightRecord owed(const Timeline& late) const {
    FlightRecord waited_for = late.last;
    for (const Timeline& other : timelines_) {
      const uint64_t group = other.inside.group;
      if (&other == &late || !other.blocked() || !late.is_member(group)) continue;
      if (const FlightRecord* next = other.call(group, late.issued(group) + 1)) return *next;
      waited_for = other.inside;
    }
    return waited_for;
  }

  static std::string not_come_to(const FlightRecord& at) {
    return at.group == 0 ? "" : ", and did not come to " + describe(at);
  }

  std::string who_waits(const Timeline& late) const {
    Members waiting;
    for (const Timeline& other : timelines_)
      if (&other != &late && other.blocked() && late.is_member(other.inside.group)) waiting.push_back(&other);
    if (waiting.empty()) return "";
    const Timeline& longest =
        **std::ranges::min_element(waiting, {}, [](const Timeline* other) { return other->inside.time_ns; });
    return str("; ", list_of(waiting), waiting.size() == 1 ? " has" : " have", " waited for it in ",
               describe(longest.inside), " for ", seconds(now_ - longest.inside.time_ns));
  }

  std::string last_of(const Timeline& one) const {
    if (one.last.index == 0) return "it has no record";
    return str("its last record, ", seconds(now_ - one.last.time_ns), " old, is: ", name_of(one.last_event()),
               " ", describe(one.last));
  }

  const std::vector<Timeline>& timelines_;
  int64_t now_ = 0;             ///< the first end by error or hang, else the latest heartbeat
  int64_t last_record_ns_ = 0;  ///< of all ranks
};

}  // namespace

const char* name_of(Fault fault) {
  constexpr const char* kNames[] = {"none",   "skipped", "extra",          "reordered",    "resized", "dead",
                                    "failed", "slow",    "stalled loader", "stalled save", "stuck"};
  return kNames[static_cast<size_t>(fault)];
}

Verdict examine(const std::vector<FlightRing>& all) {
  const std::vector<FlightRing> rings = up_to_a_hang(all);
  const std::vector<Timeline> timelines(rings.begin(), rings.end());
  if (const std::optional<Verdict> found = find_mismatch(timelines)) return *found;
  return Roll(timelines).verdict();
}

}  // namespace tessera
