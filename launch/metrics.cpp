#include "launch/metrics.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <utility>

#include "launch/format.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

constexpr const char* kFile = "metrics.jsonl";

/// Every number in the order of the line; an empty value is an absent one.
std::vector<std::pair<std::string, std::optional<double>>> scalars_of(const StepMetrics& metrics) {
  return {{"loss", metrics.loss},
          {"loss_text", metrics.loss_text},
          {"loss_image", metrics.loss_image},
          {"learning_rate", metrics.learning_rate},
          {"gradient_norm", metrics.gradient_norm},
          {"clip_scale", metrics.clip_scale},
          {"output_norm", metrics.output_norm},
          {"prediction_loss", metrics.prediction_loss},
          {"tokens_per_second", metrics.tokens_per_second()},
          {"seconds", metrics.seconds},
          {"save_held_seconds", metrics.save_held_seconds},
          {"save_seconds", metrics.save_seconds},
          {"flops_per_second", metrics.flops_per_second()},
          {"matrix_peak_fraction", metrics.matrix_peak_fraction}};
}

std::vector<std::pair<const char*, const std::map<std::string, double>*>> tables_of(
    const StepMetrics& metrics) {
  return {{"expert_load", &metrics.expert_load},
          {"unrouted", &metrics.unrouted},
          {"fan_out", &metrics.fan_out},
          {"gate", &metrics.gate},
          {"depth", &metrics.depth},
          {"router_gradient", &metrics.router_gradient},
          {"prediction_accuracy", &metrics.prediction_accuracy},
          {"prediction_precision", &metrics.prediction_precision},
          {"prediction_recall", &metrics.prediction_recall},
          {"passes", &metrics.passes}};
}

}  // namespace

std::string continued_metrics(const std::string& directory, int64_t first_step) {
  TESSERA_CHECK(std::filesystem::is_directory(directory), "metrics: no folder ", directory);
  const std::string path = (std::filesystem::path(directory) / kFile).string();
  if (!std::filesystem::exists(path)) return path;
  std::string kept;
  for (const MetricsLine& line : read_metrics(path))
    if (line.json["step"].get<int64_t>() < first_step) kept += line.text + '\n';
  replace_file(path, kept);
  return path;
}

std::string to_line(const StepMetrics& metrics) {
  Json line = Json::object(), nonfinite = Json::array();
  const auto finite = [&](const std::string& key, double value) {
    if (std::isfinite(value)) return Json(value);
    nonfinite.push_back(key);
    return Json();
  };
  line["step"] = metrics.step;
  for (const auto& [key, value] : scalars_of(metrics)) line[key] = value ? finite(key, *value) : Json();
  line["skipped"] = metrics.skipped ? 1 : 0;
  line["tokens"] = metrics.tokens;
  line["flops"] = metrics.flops;
  line["memory_bytes"] = metrics.memory_bytes;
  for (const auto& [name, table] : tables_of(metrics)) {
    Json& object = line[name] = Json::object();
    for (const auto& [key, value] : *table) object[key] = finite(str(name, "/", key), value);
  }
  if (!nonfinite.empty()) line["nonfinite"] = nonfinite;
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<MetricsLine> read_metrics(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  TESSERA_CHECK(in, path, ": cannot be opened");
  std::vector<MetricsLine> lines;
  for (std::string text; std::getline(in, text);) {
    if (in.eof()) break;  // no end of line: the run was stopped while it wrote
    Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    const bool valid = json.is_object() && json.contains("step") && json["step"].is_number_integer();
    if (!valid && in.peek() == std::ifstream::traits_type::eof()) break;
    TESSERA_CHECK(valid, path, ": line ", lines.size() + 1, " is not an object with a step");
    lines.push_back({std::move(text), std::move(json)});
  }
  return lines;
}

std::string headline(const StepMetrics& metrics) {
  std::string text = "loss " + format_fixed(metrics.loss, 3);
  if (metrics.loss_text) text += " text " + format_fixed(*metrics.loss_text, 3);
  if (metrics.loss_image) text += " image " + format_fixed(*metrics.loss_image, 3);
  if (metrics.prediction_loss) text += " routers " + format_fixed(*metrics.prediction_loss, 3);
  return text + "  " + format_count(metrics.tokens_per_second()) + " tokens/s";
}

Metrics::Metrics(const std::string& directory, int64_t first_step)
    : lines_(continued_metrics(directory, first_step)), events_(directory, first_step) {}

void Metrics::write(const StepMetrics& metrics) {
  lines_.append(to_line(metrics) + '\n');
  std::vector<std::pair<std::string, double>> values;
  for (const auto& [key, value] : scalars_of(metrics))
    if (value) values.emplace_back(key, *value);
  values.emplace_back("skipped", metrics.skipped ? 1.0 : 0.0);
  values.emplace_back("tokens", static_cast<double>(metrics.tokens));
  values.emplace_back("flops", static_cast<double>(metrics.flops));
  values.emplace_back("memory_bytes", static_cast<double>(metrics.memory_bytes));
  for (const auto& [name, table] : tables_of(metrics))
    for (const auto& [key, value] : *table) values.emplace_back(str(name, "/", key), value);
  events_.scalars(metrics.step, values);
}

}  // namespace tessera
