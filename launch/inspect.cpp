#include "launch/inspect.h"

#include <algorithm>
#include <filesystem>

#include "launch/format.h"
#include "launch/inspect_parts.h"
#include "launch/metrics.h"
#include "launch/process.h"
#include "parallel/checkpoint.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& folder, const char* name) { return fs::exists(fs::path(folder) / name); }

Json summary_of(const std::string& path) {
  TESSERA_CHECK(fs::exists(path), "inspect: there is no ", path);
  if (!fs::is_directory(path)) return inspect_shard(path);
  if (has(path, "index.json")) return inspect_dataset(path);
  if (has(path, "manifest.json")) return inspect_checkpoint(path);
  if (has(path, "config.json") || has(path, "metrics.jsonl") || latest_checkpoint(path))
    return inspect_run(path);
  throw Error(
      str("inspect: ", path,
          " is not a dataset (no index.json), a checkpoint (no manifest.json) or a run (no config.json)"));
}

bool is_table(const Json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const Json& row) { return row.is_object(); });
}

/// One line; control characters, which could steer a terminal, become "?".
std::string scalar_text(const Json& value) {
  if (value.is_number_float()) return format_general(value.get<double>());
  std::string text = value.is_string() ? value.get<std::string>()
                                       : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (char& letter : text)
    if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f) letter = '?';
  return text;
}

std::string table_text(const Json& rows, const std::string& indent) {
  std::vector<std::vector<std::string>> cells(1);
  std::vector<bool> numbers;
  for (const auto& [key, value] : rows[0].items()) {
    cells[0].push_back(key);
    numbers.push_back(value.is_number());
  }
  for (const Json& row : rows) {
    cells.emplace_back();
    for (const std::string& key : cells[0])
      cells.back().push_back(row.contains(key) ? scalar_text(row[key]) : "");
  }
  std::vector<size_t> widths(cells[0].size(), 0);
  for (const auto& row : cells)
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], row[column].size());
  std::string text;
  for (const auto& row : cells) {
    std::string line = indent;
    for (size_t column = 0; column < row.size(); ++column) {
      const std::string gap(widths[column] - row[column].size(), ' ');
      line += (column ? "  " : "") + (numbers[column] ? gap + row[column] : row[column] + gap);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string object_text(const Json& object, const std::string& indent) {
  std::string text;
  for (const auto& [key, value] : object.items()) {
    const std::string name = indent + scalar_text(key);
    if (is_table(value)) {
      text += name + "\n" + table_text(value, indent + "  ");
    } else if (value.is_object() && !value.empty()) {
      text += name + "\n" + object_text(value, indent + "  ");
    } else {
      text += name + ": " + scalar_text(value) + "\n";
    }
  }
  return text;
}

}  // namespace

std::string readable_text(const Json& summary) {
  Json facts = summary;
  facts.erase("problems");
  std::string text = object_text(facts, "");
  for (const Json& problem : summary["problems"]) text += "PROBLEM: " + scalar_text(problem) + "\n";
  return text + (summary["problems"].empty() ? "no problems found\n" : "");
}

Json inspect_run(const std::string& folder) {
  Json summary{{"kind", "run"}, {"path", folder}}, problems = Json::array();
  const auto file = [&](const char* name) { return (fs::path(folder) / name).string(); };
  if (has(folder, "metrics.jsonl")) {
    const std::vector<MetricsLine> lines = read_metrics(file("metrics.jsonl"));
    summary["steps_recorded"] = lines.size();
    if (!lines.empty()) summary["last_step"] = lines.back().json;
    for (const MetricsLine& line : lines)
      if (line.json.contains("nonfinite"))
        problems.push_back(str("step ", line.json["step"], ": not finite: ", line.json["nonfinite"].dump()));
  }
  Json checkpoints = Json::array();
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && has(entry.path().string(), "manifest.json"))
      checkpoints.push_back(entry.path().filename().string());
  std::sort(checkpoints.begin(), checkpoints.end());
  summary["checkpoints"] = checkpoints;
  if (has(folder, "evaluation.json")) summary["evaluation"] = read_json(file("evaluation.json"));
  if (has(folder, "config.json")) summary["config"] = read_json(file("config.json"));
  summary["problems"] = problems;
  return summary;
}

int run_inspect(const std::string& path, std::ostream& out, InspectFormat format) {
  const Json summary = summary_of(path);
  if (format == InspectFormat::json)
    out << summary.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  else
    out << readable_text(summary);
  return summary["problems"].empty() ? kExitSuccess : kExitError;
}

}  // namespace tessera
