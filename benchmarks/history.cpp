#include "benchmarks/history.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <set>
#include <thread>

#include "launch/proc_value.h"
#include "launch/report_chart.h"
#include "launch/report_html.h"
#include "runtime/isa.h"

namespace tessera::benchmarks {
namespace {

struct Group {
  HistoryLine::Ratios HistoryLine::*ratios;
  const char *id, *title;
};
constexpr Group kGroups[] = {
    {&HistoryLine::step_over_floor, "floor", "Time of a step over its floor"},
    {&HistoryLine::variant_over_dense, "variants", "Time per token over dense"},
    {&HistoryLine::f32_over_bf16, "bf16", "Time of a step in f32 over bf16"},
    {&HistoryLine::scaling, "scaling", "Throughput over that of one rank on one thread"},
    {&HistoryLine::overhead, "overhead", "What a training costs beside its steps, share of a step"}};

/// What a program leaves, and which members of a line say what it is about.
struct ResultFile {
  const char* name;
  std::vector<const char*> keys;
};
const ResultFile kProfile{"step_profile.jsonl", {"step"}}, kPairs{"step_ratios.jsonl", {"step", "over"}},
    kScaling{"scaling.jsonl", {"kind", "case", "ranks"}}, kOverhead{"overhead.jsonl", {"step", "threads"}};

struct Ratio {
  HistoryLine::Ratios HistoryLine::*group;
  std::string name;
  const ResultFile& file;
  std::string about;    ///< the line of the file
  const char* pointer;  ///< to the number in the line
};

/// All that a line has, on a machine with so many cores.
std::vector<Ratio> all_ratios(int64_t threads) {
  std::vector<Ratio> ratios;
  for (const char* dtype : {"f32", "bf16"}) {
    for (const char* size : {"cpu_small", "cpu_large"})
      for (const char* variant : {"dense", "1t1i", "4t4i", "mod_4t4i"}) {
        const std::string step = str(size, "_", variant, " ", dtype);
        ratios.push_back({&HistoryLine::step_over_floor, step, kProfile, step, "/ratio"});
      }
    for (const char* variant : {"1t1i", "4t4i", "mod_4t4i"}) {
      const std::string step = str("cpu_small_", variant, " ", dtype);
      ratios.push_back({&HistoryLine::variant_over_dense, step, kPairs, str(step, " cpu_small_dense ", dtype),
                        "/time/median"});
    }
  }
  for (const std::string step : {"cpu_small_dense", "cpu_small_4t4i"})
    ratios.push_back({&HistoryLine::f32_over_bf16, step + " bf16", kPairs, str(step, " f32 ", step, " bf16"),
                      "/time/median"});
  for (const std::string one : {"dense", "dense_bf16", "4t4i", "4t4i_expert_parallel"}) {
    const std::string about = "speed " + one + " 2";
    ratios.push_back({&HistoryLine::scaling, one + " 2 ranks", kScaling, about, "/together/median"});
    ratios.push_back({&HistoryLine::scaling, one + " 2 threads", kScaling, about, "/threads/median"});
  }
  for (const std::string config : {"cpu_small_dense", "cpu_small_4t4i"})
    for (const int64_t count : std::set<int64_t>{1, threads})
      ratios.push_back({&HistoryLine::overhead, str(config, " ", count, count == 1 ? " thread" : " threads"),
                        kOverhead, str(config, " ", count), "/total"});
  return ratios;
}

std::vector<Json> read_lines(const std::string& path) {
  std::ifstream in(path);
  TESSERA_CHECK(in, path, ": cannot be opened");
  std::vector<Json> lines;
  for (std::string text; std::getline(in, text);) {
    lines.push_back(Json::parse(text, nullptr, /*allow_exceptions=*/false));
    TESSERA_CHECK(lines.back().is_object(), path, ": line ", lines.size(), " is no JSON object");
  }
  return lines;
}

std::string about(const Json& line, const std::vector<const char*>& keys) {
  std::string text;
  for (const char* key : keys) {
    const Json value = line.value(key, Json());
    text += (text.empty() ? "" : " ") + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

double number_of(const std::string& folder, const Ratio& ratio) {
  const std::string path = folder + "/" + ratio.file.name;
  const Json::json_pointer at(ratio.pointer);
  for (const Json& line : read_lines(path)) {
    if (about(line, ratio.file.keys) != ratio.about) continue;
    TESSERA_CHECK(line.contains(at) && line[at].is_number(), path, ": ", ratio.about, " has no number ",
                  ratio.pointer);
    return line[at].get<double>();
  }
  throw Error(str(path, ": nothing about ", ratio.about));
}

std::string today() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[sizeof "2000-01-01"];
  std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

HistoryLine checked_line(const Json& json, const std::string& where) {
  HistoryLine line;
  from_json(json, where, line);
  for_each_field(line, [&](auto field) {
    TESSERA_CHECK(json.contains(field.name), where, ": ", field.name, " is missing");
  });
  TESSERA_CHECK(
      line.commit.size() >= 7 && line.commit.find_first_not_of("0123456789abcdef") == std::string::npos,
      where, ": commit: \"", line.commit, "\" is no commit: record what is committed");
  size_t known = 0;
  for (const Ratio& ratio : all_ratios(line.threads)) {
    TESSERA_CHECK((line.*ratio.group).contains(ratio.name), where, ": no ratio of ", ratio.name);
    ++known;
  }
  size_t found = 0;
  for (const Group& group : kGroups) found += (line.*group.ratios).size();
  TESSERA_CHECK(found == known, where, ": ", found, " ratios, expected ", known);
  return line;
}

/// A chart for every first word of the names, a series for what follows it.
std::string section_of(const Group& group, const std::vector<HistoryLine>& lines) {
  std::map<std::string, Chart> charts;
  for (const auto& [name, unused] : lines.back().*group.ratios) {
    const std::string first = name.substr(0, name.find(' '));
    Chart& chart = charts[first];
    ChartSeries series{.name = name.substr(std::min(first.size() + 1, name.size())),
                       .color = chart.series.size(),
                       .x = {},
                       .y = {}};
    for (const HistoryLine& line : lines) {
      const auto ratio = (line.*group.ratios).find(name);
      series.x.push_back(static_cast<double>(series.x.size() + 1));
      series.y.push_back(ratio == (line.*group.ratios).end() ? std::nan("") : ratio->second);
    }
    chart.series.push_back(std::move(series));
  }
  std::string html;
  for (auto& [name, chart] : charts) {
    chart.id = str(group.id, "-", name);
    chart.title = name;
    chart.axis = "ratio";
    chart.x_axis = "record";
    std::vector<std::string> names;
    for (const ChartSeries& series : chart.series) names.push_back(series.name);
    html += "<div>" + html_legend(names) + chart_figure(chart) + "</div>";
  }
  return html_section(group.id, group.title, "<div class=\"charts\">" + html + "</div>");
}

}  // namespace

HistoryLine measured_state(const std::string& results, const std::string& commit) {
  HistoryLine line;
  line.date = today();
  line.commit = commit;
  line.processor = proc_value("/proc/cpuinfo", "model name");
  line.isa = name_of(detect_isa());
  line.threads = std::max(1u, std::thread::hardware_concurrency());
  for (const Ratio& ratio : all_ratios(line.threads))
    (line.*ratio.group)[ratio.name] = number_of(results, ratio);
  return checked_line(to_json(line), results);
}

std::vector<HistoryLine> read_history(const std::string& path) {
  std::vector<HistoryLine> lines;
  for (const Json& json : read_lines(path))
    lines.push_back(checked_line(json, str(path, ": line ", lines.size() + 1)));
  return lines;
}

std::string history_page(const std::vector<HistoryLine>& lines) {
  std::string sections, rows;
  for (const Group& group : kGroups) sections += section_of(group, lines);
  for (size_t i = 0; i < lines.size(); ++i) {
    rows += str("<tr><th scope=\"row\">", i + 1, "</th>");
    for (const std::string& text :
         {lines[i].date, lines[i].commit, lines[i].processor, lines[i].isa, str(lines[i].threads)})
      rows += "<td>" + escape_html(text) + "</td>";
    rows += "</tr>";
  }
  std::string head;
  for (const char* title : {"record", "date", "commit", "processor", "level", "cores"})
    head += str("<th scope=\"col\">", title, "</th>");
  return html_page(
      "Tessera history",
      "<header><p class=\"kicker\">Tessera history</p><h1>Speed by recorded state</h1></header>" + sections +
          html_section("records", "Records",
                       "<div class=\"card\"><table><thead><tr>" + head + "</tr></thead><tbody>" + rows +
                           "</tbody></table></div>"));
}

}  // namespace tessera::benchmarks
