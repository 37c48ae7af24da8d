#include "launch/trace_file.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include "runtime/json.h"

namespace tessera {
namespace {

constexpr double kMostNs = 9e15;  // below it doubles hold every nanosecond
constexpr double kMostTracks = static_cast<double>(Track::checkpoint);

struct PointJson {
  int64_t at_ns = 0, offset_ns = 0, round_trip_ns = 0;

  auto fields() {
    return std::tuple{Field{"at_ns", at_ns, "", 0, kMostNs},
                      Field{"offset_ns", offset_ns, "", -kMostNs, kMostNs},
                      Field{"round_trip_ns", round_trip_ns, "", 0, kMostNs}};
  }
};

struct HeaderJson {
  int64_t rank = -1, ranks = 0, started_ns = 0, lost = 0;
  std::vector<PointJson> clock;

  auto fields() {
    return std::tuple{Field{"rank", rank, "", 0, 1e6}, Field{"ranks", ranks, "", 1, 1e6},
                      Field{"started_ns", started_ns, "", 0, kMostNs}, Field{"lost", lost, "", 0, kMostNs},
                      Field{"clock", clock}};
  }
};

struct ArgumentsJson {
  int64_t number = -1, bytes = -1;

  auto fields() {
    return std::tuple{Field{"number", number, "", 0, kMostNs}, Field{"bytes", bytes, "", 0, 9e15}};
  }
};

struct EventJson {
  std::string name, ph;
  int64_t pid = -1, tid = -1;
  double ts = -1, dur = -1;  ///< microseconds
  ArgumentsJson args;

  auto fields() {
    return std::tuple{Field{"name", name},
                      Field{"ph", ph, "one of X"},
                      Field{"pid", pid, "", 0, 1e6},
                      Field{"tid", tid, "", 0, kMostTracks},
                      Field{"ts", ts, "", 0, kMostNs * 1e-3},
                      Field{"dur", dur, "", 0, kMostNs * 1e-3},
                      Field{"args", args}};
  }
};

template <class T>
T strictly(const Json& json, const std::string& where, std::initializer_list<const char*> required) {
  TESSERA_CHECK(json.is_object(), where, ": expected an object, got ", json.dump());
  for (const char* key : required) TESSERA_CHECK(json.contains(key), where, ": ", key, " is missing");
  T value;
  from_json(json, where, value);
  return value;
}

RecordedRange range_of(const Json& json, const std::string& where, TraceFile& trace) {
  const auto event = strictly<EventJson>(json, where, {"name", "ph", "pid", "tid", "ts", "dur"});
  const int64_t begin = std::llround(event.ts * 1e3);
  return {*trace.names.insert(event.name).first,
          begin,
          begin + std::llround(event.dur * 1e3),
          event.args.number,
          event.args.bytes,
          static_cast<Track>(event.tid)};
}

TraceHeader header_of(const HeaderJson& json, const std::string& where) {
  TESSERA_CHECK(json.rank < json.ranks, where, ": rank must be below ranks, ", json.ranks, ", got ",
                json.rank);
  TESSERA_CHECK(!json.clock.empty(), where, ": clock: expected one point or more, got none");
  TraceHeader header{static_cast<int>(json.rank), static_cast<int>(json.ranks), json.started_ns, {}};
  for (const PointJson& point : json.clock) {
    TESSERA_CHECK(header.clock.empty() || header.clock.back().at_ns < point.at_ns, where,
                  ": clock: at_ns must grow from point to point, got ", point.at_ns);
    header.clock.push_back({point.at_ns, point.offset_ns, point.round_trip_ns});
  }
  return header;
}

int64_t on_first_clock(int64_t at_ns, const std::vector<ClockPoint>& clock) {
  const ClockPoint &first = clock.front(), &last = clock.back();
  if (clock.size() == 1) return at_ns + first.offset_ns;
  const double drift =
      static_cast<double>(last.offset_ns - first.offset_ns) / static_cast<double>(last.at_ns - first.at_ns);
  return at_ns + first.offset_ns + std::llround(drift * static_cast<double>(at_ns - first.at_ns));
}

}  // namespace

std::string trace_path(const std::string& run, int rank) { return str(run, "/trace_", rank, ".json"); }

TraceFile read_trace(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  TESSERA_CHECK(in && !std::filesystem::is_directory(path), path, ": cannot be opened");
  TraceFile trace;
  // Events are taken as they come, and none of them stays in the JSON tree.
  const auto take = [&](int depth, Json::parse_event_t kind, Json& json) {
    if (depth != 2 || kind != Json::parse_event_t::object_end || !json.contains("ph")) return true;
    TESSERA_CHECK(std::ssize(trace.ranges) < Trace::kCapacity, path, ": traceEvents: expected at most ",
                  Trace::kCapacity, " events, the size of the ring");
    trace.ranges.push_back(range_of(json, str(path, ": traceEvents[", trace.ranges.size(), "]"), trace));
    return false;
  };
  Json rest;
  try {
    rest = Json::parse(in, take);
  } catch (const nlohmann::json::parse_error& error) {
    throw Error(str(path, ": not valid JSON at byte ", error.byte, "; the file is truncated or damaged"));
  }
  TESSERA_CHECK(rest.is_object() && rest.contains("tessera"), path,
                ": tessera is missing: no trace of this program");
  TESSERA_CHECK(rest.contains("traceEvents") && rest["traceEvents"].is_array(), path,
                ": traceEvents is missing");
  TESSERA_CHECK(rest["traceEvents"].empty(), path, ": traceEvents: expected events with ph, got ",
                rest["traceEvents"][0].dump());
  const std::string where = path + ": tessera";
  const auto header =
      strictly<HeaderJson>(rest["tessera"], where, {"rank", "ranks", "started_ns", "lost", "clock"});
  trace.header = header_of(header, where);
  trace.lost = header.lost;
  TESSERA_CHECK(!trace.ranges.empty(), path, ": traceEvents: expected one or more events, got none");
  for (RecordedRange& range : trace.ranges) {
    range.begin_ns = on_first_clock(range.begin_ns, trace.header.clock);
    range.end_ns = on_first_clock(range.end_ns, trace.header.clock);
  }
  return trace;
}

}  // namespace tessera
