#include "launch/anomaly.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "parallel/agree.h"

namespace tessera {
namespace {

Json leaves_of(const AnomalyParts& parts, int64_t step, Communicator& world) {
  Json mine = Json::array();
  for (const LeafLoss& leaf : parts.statistics.last_leaves()) {
    Json units = Json::array();
    for (const UnitRef& unit : parts.loader.sampler().micro_batch(step, leaf.leaf))
      units.push_back(str(unit));
    mine.push_back(
        {{"leaf", leaf.leaf}, {"rank", world.rank()}, {"units", units}, {"loss", json_number(leaf.loss)}});
  }
  std::vector<Json> leaves;
  for (const std::string& text : all_gather_strings(world, mine.dump()))
    for (Json& leaf : Json::parse(text)) leaves.push_back(std::move(leaf));
  std::ranges::sort(leaves, {}, [](const Json& leaf) { return leaf["leaf"].get<int64_t>(); });
  return leaves;
}

}  // namespace

Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(str(value)); }

std::string anomaly_path(const std::string& out, int64_t step) {
  return str(out, "/anomaly_", step, ".json");
}

std::vector<std::string> nonfinite_parameters(Transformer& model, const Shards& shards, Communicator& world) {
  Json mine = Json::array();
  for (const ShardPiece& piece : shards.pieces())
    if (!std::ranges::all_of(piece.value.to_vector<float>(),
                             [](float value) { return std::isfinite(value); }))
      mine.push_back(piece.parameter->name);
  std::set<std::string> found;
  for (const std::string& text : all_gather_strings(world, mine.dump()))
    for (const Json& name : Json::parse(text)) found.insert(name.get<std::string>());
  std::vector<std::string> in_order;
  for_each_parameter(model, "", [&](const std::string& name, Parameter&) {
    if (found.contains(name)) in_order.push_back(name);
  });
  return in_order;
}

std::vector<std::pair<std::string, double>> gradient_norms_by_name(Transformer& model, const Shards& shards) {
  std::vector<const Parameter*> parameters;
  for_each_parameter(model, "",
                     [&](const std::string&, Parameter& parameter) { parameters.push_back(&parameter); });
  const std::vector<double> norms = shards.gradient_norms(parameters);
  std::vector<std::pair<std::string, double>> named;
  for (size_t i = 0; i < norms.size(); ++i) named.emplace_back(parameters[i]->name, norms[i]);
  return named;
}

void write_anomaly(const std::string& out, int64_t step, const std::string& reason, const std::string& action,
                   const StepSummary& summary, double gradient_norm, const AnomalyParts& parts,
                   Communicator& world) {
  Json report{{"step", step},
              {"reason", reason},
              {"action", action},
              {"loss", json_number(summary.loss)},
              {"gradient_norm", json_number(gradient_norm)},
              {"ranks", world.size()},
              {"leaves", leaves_of(parts, step, world)}};
  Json norms = Json::object(), nonfinite = Json::array();
  for (const auto& [name, norm] : gradient_norms_by_name(parts.model, parts.shards)) {
    norms[name] = json_number(norm);
    if (!std::isfinite(norm)) nonfinite.push_back(name);
  }
  report["gradient_norms"] = norms;
  report["nonfinite_gradients"] = nonfinite;
  report["nonfinite_parameters"] = nonfinite_parameters(parts.model, parts.shards, world);
  agree(world, [&] {
    if (world.rank() == 0) write_json(anomaly_path(out, step), report);
  });
}

}  // namespace tessera
