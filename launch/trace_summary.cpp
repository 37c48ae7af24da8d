#include "launch/trace_summary.h"

#include <algorithm>
#include <numeric>

#include "launch/format.h"

namespace tessera {
namespace {

constexpr int64_t kMostStretches = 10;

double drift_of(const std::vector<ClockPoint>& clock) {
  if (clock.size() < 2) return 0;
  return static_cast<double>(clock.back().offset_ns - clock.front().offset_ns) /
         static_cast<double>(clock.back().at_ns - clock.front().at_ns);
}

int64_t round_trip_of(const std::vector<ClockPoint>& clock) {
  return std::ranges::max(clock, {}, &ClockPoint::round_trip_ns).round_trip_ns;
}

std::string milliseconds(int64_t ns, int64_t steps) {
  return format_fixed(1e-6 * static_cast<double>(ns) / static_cast<double>(steps), 2);
}

std::string share_table(const TraceSummary& summary) {
  std::vector<Part> shown;
  for (Part part : kParts)
    if (summary.overall.split.of(part) > 0) shown.push_back(part);
  std::vector<std::vector<std::string>> rows{{""}};
  for (Part part : shown) rows[0].push_back(name_of(part));
  rows[0].insert(rows[0].end(), {"sum", "ms a step"});
  const auto add = [&](const std::string& title, const TimeSplit& split) {
    std::vector<int64_t> times;
    for (Part part : shown) times.push_back(split.of(part));
    const std::vector<int64_t> tenths = tenths_of_percent(times);
    std::vector<std::string>& row = rows.emplace_back(std::vector{title});
    for (int64_t tenth : tenths) row.push_back(format_fixed(0.1 * static_cast<double>(tenth), 1));
    row.push_back(format_fixed(
        0.1 * static_cast<double>(std::accumulate(tenths.begin(), tenths.end(), int64_t{0})), 1));
    row.push_back(milliseconds(split.total(), split.steps));
  };
  add("all ranks", summary.overall.split);
  for (const RankTime& rank : summary.ranks) add(str("rank ", rank.header.rank), rank.split);
  if (summary.stretches.size() > 1)
    for (const StepsTime& steps : summary.stretches) add(name_of(steps), steps.split);
  return format_table(rows);
}

std::string communication_table(const TimeSplit& split) {
  std::vector<std::vector<std::string>> rows{{"", "exposed", "overlapped"}};
  const auto add = [&](const std::string& title, int64_t exposed, int64_t overlapped) {
    if (exposed + overlapped > 0)
      rows.push_back({title, milliseconds(exposed, split.steps), milliseconds(overlapped, split.steps)});
  };
  int64_t exposed = 0;
  for (Part part : kParts) {
    if (!is_communication(part)) continue;
    add(name_of(part), split.of(part), split.overlapped_of(part));
    exposed += split.of(part);
  }
  add("any", exposed, split.overlapped_by_any_ns);
  return format_table(rows);
}

Json json_of(const TimeSplit& split) {
  Json parts = Json::object(), overlapped = Json::object();
  for (Part part : kParts) {
    parts[name_of(part)] = split.of(part);
    if (is_communication(part)) overlapped[name_of(part)] = split.overlapped_of(part);
  }
  overlapped["any"] = split.overlapped_by_any_ns;
  return {{"steps", split.steps}, {"total_ns", split.total()}, {"ns", parts}, {"overlapped_ns", overlapped}};
}

Json json_of(const StepsTime& steps) {
  Json json{{"first_step", steps.first}, {"last_step", steps.last}};
  json.update(json_of(steps.split));
  return json;
}

}  // namespace

std::string name_of(const StepsTime& steps) {
  return steps.first == steps.last ? str("step ", steps.first) : str("steps ", steps.first, "-", steps.last);
}

std::vector<int64_t> tenths_of_percent(const std::vector<int64_t>& parts) {
  const int64_t total = std::accumulate(parts.begin(), parts.end(), int64_t{0});
  std::vector<int64_t> tenths(parts.size(), 0);
  if (total == 0) return tenths;
  std::vector<std::pair<int64_t, size_t>> remainders;
  int64_t missing = 1000;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto scaled = static_cast<__int128>(parts[i]) * 1000;
    tenths[i] = static_cast<int64_t>(scaled / total);
    remainders.emplace_back(static_cast<int64_t>(scaled % total), i);
    missing -= tenths[i];
  }
  std::ranges::stable_sort(remainders, std::ranges::greater{}, &std::pair<int64_t, size_t>::first);
  for (int64_t i = 0; i < missing; ++i) ++tenths[remainders[static_cast<size_t>(i)].second];
  return tenths;
}

void TraceSummarizer::add(const TraceFile& trace) {
  const auto rank = std::ssize(ranks_);
  const std::string path = trace_path(run_, static_cast<int>(rank));
  const TraceHeader &header = trace.header, &first = ranks_.empty() ? header : ranks_[0].header;
  const auto same = [&](const char* field, int64_t got, int64_t expected, const char* of) {
    TESSERA_CHECK(got == expected, path, ": tessera.", field, ": expected ", expected, of, ", got ", got);
  };
  same("rank", header.rank, rank, " as in its name");
  same("ranks", header.ranks, first.ranks, " as in the trace of rank 0");
  same("started_ns", header.started_ns, first.started_ns, " as in the trace of rank 0");
  std::map<int64_t, TimeSplit> steps = split_steps(trace);
  TESSERA_CHECK(!steps.empty(), path, ": traceEvents: no step is whole; ", trace.lost,
                " ranges were overwritten");
  ranks_.push_back({header, trace.lost, steps.begin()->first});
  steps_.push_back(std::move(steps));
}

TraceSummary TraceSummarizer::summary(int64_t first, int64_t last) const {
  TraceSummary summary{run_, ranks_, {}, {}};
  std::vector<int64_t> common;
  for (const auto& [step, unused] : steps_[0])
    if (first <= step && step <= last &&
        std::ranges::all_of(steps_, [&](const auto& steps) { return steps.contains(step); }))
      common.push_back(step);
  TESSERA_CHECK(!common.empty(), run_, ": the traces of all ranks have no whole step from ", first, " to ",
                last, " in common; rank 0 has ", steps_[0].begin()->first, " to ", steps_[0].rbegin()->first);
  summary.overall = {common.front(), common.back()};
  const int64_t length = (std::ssize(common) + kMostStretches - 1) / kMostStretches;
  for (int64_t i = 0; i < std::ssize(common); ++i) {
    const int64_t step = common[static_cast<size_t>(i)];
    if (i % length == 0) summary.stretches.push_back({step, step});
    StepsTime& stretch = summary.stretches.back();
    stretch.last = step;
    for (size_t rank = 0; rank < steps_.size(); ++rank) {
      const TimeSplit& split = steps_[rank].at(step);
      summary.ranks[rank].split += split;
      stretch.split += split;
      summary.overall.split += split;
    }
  }
  return summary;
}

std::string text_of(const TraceSummary& summary) {
  const StepsTime& overall = summary.overall;
  std::string text = str(summary.run, ": steps ", overall.first, " to ", overall.last, " of ",
                         summary.ranks.size(), summary.ranks.size() == 1 ? " rank\n" : " ranks\n");
  for (const RankTime& rank : summary.ranks) {
    if (rank.lost > 0)
      text +=
          str("rank ", rank.header.rank, ": the ring kept the last ", Trace::kCapacity, " ranges and lost ",
              rank.lost, " before them; its first whole step is ", rank.first_complete, "\n");
    if (rank.header.rank > 0)
      text += str("rank ", rank.header.rank, ": its clock is ", rank.header.clock.front().offset_ns,
                  " ns from rank 0's, known to within ", round_trip_of(rank.header.clock) / 2, " ns; drift ",
                  format_general(1e6 * drift_of(rank.header.clock)), " us a second\n");
  }
  return text + "\nshare of the step, %\n" + share_table(summary) +
         "\ncommunication, ms a step: exposed, and under way while computing\n" +
         communication_table(overall.split);
}

Json json_of(const TraceSummary& summary) {
  Json ranks = Json::array(), stretches = Json::array();
  for (const RankTime& rank : summary.ranks) {
    Json json{{"rank", rank.header.rank},
              {"lost", rank.lost},
              {"first_whole_step", rank.first_complete},
              {"clock_offset_ns", rank.header.clock.front().offset_ns},
              {"clock_round_trip_ns", round_trip_of(rank.header.clock)},
              {"clock_drift", drift_of(rank.header.clock)}};
    json.update(json_of(rank.split));
    ranks.push_back(json);
  }
  for (const StepsTime& steps : summary.stretches) stretches.push_back(json_of(steps));
  return {
      {"run", summary.run}, {"overall", json_of(summary.overall)}, {"ranks", ranks}, {"steps", stretches}};
}

}  // namespace tessera
