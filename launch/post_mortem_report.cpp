// Post-mortems as people and machines read them.
#include <algorithm>
#include <cstdio>

#include "launch/flight_timeline.h"
#include "launch/post_mortem.h"
#include "runtime/json.h"

namespace tessera {
namespace {

constexpr size_t kShown = 8;  ///< latest records of a rank

const char* name_of(ProcessState state) {
  constexpr const char* kNames[] = {"on another machine", "running", "suspended", "gone"};
  return kNames[static_cast<size_t>(state)];
}

std::span<const FlightRecord> latest(const FlightRing& ring) {
  const std::span<const FlightRecord> all = ring.records;
  return all.last(std::min(kShown, all.size()));
}

int64_t latest_ns(const std::vector<FlightRing>& rings) {
  int64_t latest = 0;
  for (const FlightRing& ring : rings) latest = std::max({latest, ring.alive_ns, ring.last_ns});
  return latest;
}

std::string age_of(const FlightRecord& record, int64_t now_ns) {
  char age[32];
  std::snprintf(age, sizeof age, "%10.3f s  ", static_cast<double>(record.time_ns - now_ns) * 1e-9);
  return age;
}

std::string line_of(const FlightRecord& record, int64_t now_ns) {
  char numbers[64] = "";
  if (record.group != 0)
    std::snprintf(numbers, sizeof numbers, "  [group %04x, number %llu, %lld %s]",
                  static_cast<unsigned>(record.group & 0xffff),
                  static_cast<unsigned long long>(record.sequence), static_cast<long long>(record.count),
                  name_of(DType{record.dtype}));
  char event[16];
  std::snprintf(event, sizeof event, "%-10s", name_of(static_cast<FlightEvent>(record.event)));
  return str(age_of(record, now_ns), event, describe(record), numbers, "\n");
}

Json json_of(const FlightRecord& record) {
  return {{"index", record.index},
          {"time_ns", record.time_ns},
          {"event", name_of(static_cast<FlightEvent>(record.event))},
          {"operation", name_of(static_cast<FlightOperation>(record.operation))},
          {"about", record.about},
          {"group", str(record.group)},
          {"sequence", record.sequence},
          {"count", record.count},
          {"result", record.result},
          {"dtype", name_of(DType{record.dtype})},
          {"step", record.step},
          {"round", record.round},
          {"phase", name_of(static_cast<FlightPhase>(record.phase))}};
}

std::string text_of(const std::vector<FlightRing>& rings, const std::vector<std::string>& problems) {
  std::string text = examine(rings).sentence + ".\n";
  for (const std::string& problem : problems) text += problem + ".\n";
  const int64_t now_ns = latest_ns(rings);
  for (const FlightRing& ring : rings) {
    text += str("\nrank ", ring.rank, " of ", ring.ranks, ": process ", ring.pid, " on ", ring.host, ", ",
                name_of(ring.process), ring.end == FlightEnd::none ? "" : str(", ended: ", name_of(ring.end)),
                ring.last_words.empty() ? "" : ": " + ring.last_words,
                ring.damaged == 0 ? "" : str(", ", ring.damaged, " damaged records"), "\n");
    for (const FlightRecord& record : latest(ring)) text += line_of(record, now_ns);
    if (const Timeline timeline(ring); timeline.blocked())
      text += str(age_of(timeline.inside, now_ns), "still in ", describe(timeline.inside), "\n");
  }
  return text;
}

Json json_of(const std::vector<FlightRing>& rings, const std::vector<std::string>& problems) {
  const Verdict verdict = examine(rings);
  Json json{{"fault", name_of(verdict.fault)},
            {"rank", verdict.rank < 0 ? Json() : Json(verdict.rank)},
            {"sentence", verdict.sentence},
            {"at", json_of(verdict.at)},
            {"problems", problems},
            {"ranks", Json::array()}};
  for (const FlightRing& ring : rings) {
    Json records = Json::array();
    const Timeline timeline(ring);
    for (const FlightRecord& record : latest(ring)) records.push_back(json_of(record));
    json["ranks"].push_back({{"rank", ring.rank},
                             {"host", ring.host},
                             {"process", ring.pid},
                             {"state", name_of(ring.process)},
                             {"alive_ns", ring.alive_ns},
                             {"end", name_of(ring.end)},
                             {"last_words", ring.last_words},
                             {"damaged", ring.damaged},
                             {"inside", timeline.blocked() ? json_of(timeline.inside) : Json()},
                             {"records", std::move(records)}});
  }
  return json;
}

}  // namespace

std::string post_mortem(const std::string& run, bool json) {
  std::vector<std::string> problems;
  const std::vector<FlightRing> rings = read_flight_rings(flight_folder(run), problems);
  return json ? json_of(rings, problems).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
              : text_of(rings, problems);
}

}  // namespace tessera
