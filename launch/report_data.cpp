#include "launch/report_data.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>

#include "launch/metrics.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr const char* kColumns[] = {"loss",          "loss_text",
                                    "loss_image",    "learning_rate",
                                    "gradient_norm", "tokens_per_second",
                                    "flops",         "matrix_peak_fraction",
                                    "tokens",        "seconds"};
constexpr uintmax_t kMostSampleBytes = 1 << 20;
constexpr const char* kOriginal = "_original.png";
constexpr const char* kReconstruction = "_reconstruction.png";

/// The number at a key; none where it is null or missing.
std::optional<double> number(const Json& json, const std::string& where, const std::string& key) {
  if (!json.contains(key) || json[key].is_null()) return std::nullopt;
  TESSERA_CHECK(json[key].is_number(), where, ": ", key, " must be a number, got ",
                json[key].dump().substr(0, 80));
  return json[key].get<double>();
}

std::string text(const Json& json, const std::string& where, const std::string& key) {
  TESSERA_CHECK(json.contains(key) && json[key].is_string(), where, ": ", key, " must be a string");
  return json[key].get<std::string>();
}

Evaluation read_evaluation(const std::string& path) {
  const Json json = read_json(path);
  TESSERA_CHECK(json.is_object(), path, ": the top level must be an object");
  Evaluation evaluation;
  evaluation.checkpoint = text(json, path, "checkpoint");
  evaluation.routing = text(json, path, "routing");
  evaluation.step = static_cast<int64_t>(number(json, path, "step").value_or(0));
  for (const char* part : {"text", "image", "image_plain"}) {
    if (!json.contains(part)) continue;
    const std::string where = path + ": " + part;
    TESSERA_CHECK(json[part].is_object(), where, " must be an object");
    HeldOut& held_out = evaluation.parts[part];
    held_out.tokens = static_cast<int64_t>(number(json[part], where, "tokens").value_or(0));
    held_out.nats = number(json[part], where, "nats");
    held_out.unigram = number(json[part], where, "unigram");
    held_out.bigram = number(json[part], where, "bigram");
    if (!json.contains("causal")) continue;
    TESSERA_CHECK(json["causal"].is_object(), path, ": causal must be an object");
    for (const auto& [way, parts] : json["causal"].items()) {
      const std::string place = str(path, ": causal: ", way, ": ", part);
      TESSERA_CHECK(parts.is_object(), path, ": causal: ", way, " must be an object");
      if (!parts.contains(part)) continue;
      TESSERA_CHECK(parts[part].is_object(), place, " must be an object");
      if (const auto nats = number(parts[part], place, "nats")) held_out.causal[way] = *nats;
    }
  }
  if (const auto count = number(json, path, "parameters"))
    evaluation.parameters = static_cast<int64_t>(*count);
  evaluation.forward_flops_per_token = number(json, path, "forward_flops_per_token");
  return evaluation;
}

/// Means of the members of an object over some lines.
std::map<std::string, double> mean_table(const std::vector<MetricsLine>& lines, size_t first,
                                         const std::string& where, const char* key) {
  std::map<std::string, double> sums;
  std::map<std::string, int64_t> counts;
  for (size_t i = first; i < lines.size(); ++i) {
    if (!lines[i].json.contains(key)) continue;
    const Json& table = lines[i].json[key];
    TESSERA_CHECK(table.is_object(), where, ": ", key, " must be an object");
    for (const auto& [name, unused] : table.items()) {
      if (const auto value = number(table, where, name)) {
        sums[name] += *value;
        ++counts[name];
      }
    }
  }
  for (auto& [name, sum] : sums) sum /= static_cast<double>(counts[name]);
  return sums;
}

void add_metrics(const std::string& path, ReportRun& run) {
  const std::vector<MetricsLine> lines = read_metrics(path);
  for (const MetricsLine& line : lines) {
    run.steps.push_back(line.json["step"].get<double>());
    for (const char* column : kColumns)
      run.columns[column].push_back(
          number(line.json, path, column).value_or(std::numeric_limits<double>::quiet_NaN()));
    if (!line.json.contains("nonfinite") || !line.json["nonfinite"].is_array()) continue;
    std::string keys;
    for (const Json& key : line.json["nonfinite"])
      keys += (keys.empty() ? "" : ", ") + (key.is_string() ? key.get<std::string>() : key.dump());
    run.nonfinite.push_back(str("step ", line.json["step"], ": ", keys));
  }
  const size_t first = lines.size() - std::min(lines.size(), lines.size() / 10 + 1);
  run.expert_load = mean_table(lines, first, path, "expert_load");
  run.unrouted = mean_table(lines, first, path, "unrouted");
}

std::string read_png(const fs::path& path) {
  TESSERA_CHECK(fs::file_size(path) <= kMostSampleBytes, path.string(),
                ": a sample picture must have at most ", kMostSampleBytes, " bytes, has ",
                fs::file_size(path));
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  TESSERA_CHECK(bytes.starts_with("\x89PNG\r\n\x1a\n"), path.string(), ": is not a PNG file");
  return bytes;
}

}  // namespace

ReportRun read_run(const std::string& folder) {
  TESSERA_CHECK(fs::is_directory(folder), "report: no run folder ", folder);
  ReportRun run;
  run.folder = folder;
  const fs::path path(folder);
  run.name = (path.has_filename() ? path : path.parent_path()).filename().string();
  const auto file = [&](const char* name) { return (path / name).string(); };
  if (fs::exists(file("config.json"))) run.config = read_json(file("config.json"));
  if (fs::exists(file("metrics.jsonl"))) add_metrics(file("metrics.jsonl"), run);
  if (fs::exists(file("evaluation.json"))) run.evaluation = read_evaluation(file("evaluation.json"));
  return run;
}

std::vector<ReportRun> read_runs(const std::vector<std::string>& folders) {
  TESSERA_CHECK(!folders.empty(), "report: expected at least one run folder");
  std::vector<ReportRun> runs;
  for (const std::string& folder : folders) runs.push_back(read_run(folder));
  std::map<std::string, int> uses;
  for (const ReportRun& run : runs) ++uses[run.name];
  for (ReportRun& run : runs)
    if (uses[run.name] > 1) run.name = run.folder;
  return runs;
}

Samples read_samples(const std::string& data_directory, size_t most) {
  Samples samples;
  const fs::path folder = fs::path(data_directory) / "samples";
  if (data_directory.empty() || !fs::is_directory(folder)) return samples;
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string file = entry.path().filename().string();
    if (!file.ends_with(kOriginal)) continue;
    const std::string name = file.substr(0, file.size() - std::string(kOriginal).size());
    if (fs::exists(folder / (name + kReconstruction))) names.insert(name);
  }
  for (const std::string& name : names) {
    if (samples.pairs.size() == most) {
      ++samples.left_out;
      continue;
    }
    samples.pairs.push_back(
        {name, read_png(folder / (name + kOriginal)), read_png(folder / (name + kReconstruction))});
  }
  return samples;
}

std::optional<double> median(std::vector<double> values) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.empty()) return std::nullopt;
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace tessera
