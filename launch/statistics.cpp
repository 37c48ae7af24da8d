#include "launch/statistics.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "parallel/canonical_sum.h"

namespace tessera {
namespace {

constexpr size_t kFanOut = 4;  ///< 0, 1, 2, 3 and more

std::string key(int64_t block, const std::string& what, const std::string& of) {
  return str(block, "/", what, "/", of);
}
std::string name_of_modality(size_t modality) { return name_of(static_cast<Modality>(modality)); }

/// Calls visit(layer) for every block with experts.
template <class Visit>
void for_each_expert_layer(const Transformer& model, const Visit& visit) {
  for (const Block& block : model.blocks)
    if (const auto* experts = std::get_if<Sharded<MixtureOfExperts>>(&block.feed_forward))
      visit(experts->layer);
}

template <class Visit>
void for_each_depth_router(const Transformer& model, const Visit& visit) {
  for (const Block& block : model.blocks)
    if (block.depth) visit(block.depth->layer);
}

/// What routers chose in a micro-batch, on the host.
struct Chosen {
  std::vector<int32_t> rows;  ///< by slot
  std::vector<float> gates;   ///< by slot; empty without a router

  explicit Chosen(const LayerRouting& routing) : rows(routing.routing.index.to_vector<int32_t>()) {
    if (routing.gates.value()) gates = routing.gates.value().to_vector<float>();
  }
};

/// By row, the pool that it is in; -1 for padding.
std::vector<int64_t> pools_of(const Rows& rows, const ModelConfig& config) {
  std::vector<int64_t> pools(static_cast<size_t>(rows.tokens.count()), -1);
  const std::vector<int32_t> index = rows.all.index.to_vector<int32_t>();
  const bool by_unit = config.routing_pool == "sequence";
  for (size_t unit = 0; unit + 1 < rows.all.units.size(); ++unit)
    for (int64_t i = rows.all.units[unit]; i < rows.all.units[unit + 1]; ++i)
      pools[static_cast<size_t>(index[static_cast<size_t>(i)])] = by_unit ? static_cast<int64_t>(unit) : 0;
  return pools;
}

/// Mean over pools of the least gate among slots [begin, end); none without slots.
std::optional<double> cutoff(const Chosen& chosen, int64_t begin, int64_t end,
                             const std::vector<int64_t>& pools) {
  std::map<int64_t, float> least;
  for (auto slot = static_cast<size_t>(begin); slot < static_cast<size_t>(end); ++slot) {
    const auto [place, is_new] =
        least.try_emplace(pools[static_cast<size_t>(chosen.rows[slot])], chosen.gates[slot]);
    if (!is_new) place->second = std::min(place->second, chosen.gates[slot]);
  }
  if (least.empty()) return {};
  double sum = 0;
  for (const auto& [pool, gate] : least) sum += gate;
  return sum / static_cast<double>(least.size());
}

/// Numbers of one expert layer in one micro-batch.
class LayerNumbers {
 public:
  LayerNumbers(const MixtureOfExperts& layer, const LayerRouting& routing, const Rows& rows,
               std::map<std::string, double>& numbers)
      : layer_(layer), offsets_(routing.routing.offsets), chosen_(routing), rows_(rows), numbers_(numbers) {}

  void add() {
    const std::vector<int64_t> pools = pools_of(rows_, layer_.config);
    std::vector<int64_t> experts_of_row(pools.size(), 0);
    int64_t expert = 0;
    for (const ExpertGroup& group : layer_.groups) {
      add_group(group, expert);
      for (int64_t i = 0; i < group.experts; ++i, ++expert) {
        const std::string& label = layer_.labels[static_cast<size_t>(expert)];
        const int64_t begin = offset(expert), end = offset(expert + 1);
        at("slots", label) += static_cast<double>(end - begin);
        if (!group.routed()) continue;
        for (int64_t slot = begin; slot < end; ++slot) ++experts_of_row[row(slot)];
        if (const std::optional<double> least = cutoff(chosen_, begin, end, pools)) {
          at("cutoff", label) += *least;
          at("cutoffs", label) += 1;
        }
      }
    }
    if (layer_.router) add_fan_out(experts_of_row);
  }

 private:
  double& at(const std::string& what, const std::string& of) {
    return numbers_.at(key(layer_.layer, what, of));
  }
  int64_t offset(int64_t expert) const { return offsets_[static_cast<size_t>(expert)]; }
  size_t row(int64_t slot) const { return static_cast<size_t>(chosen_.rows[static_cast<size_t>(slot)]); }

  void add_group(const ExpertGroup& group, int64_t first_expert) {
    const int64_t begin = offset(first_expert), end = offset(first_expert + group.experts);
    std::vector<bool> taken(static_cast<size_t>(rows_.tokens.count()), false);
    auto unrouted = static_cast<double>(candidates_of(group, rows_).index.count());
    double gates = 0;
    at("tokens", group.name) += unrouted;
    for (int64_t slot = begin; slot < end; ++slot) {
      unrouted -= !taken[row(slot)];  // a candidate
      taken[row(slot)] = true;
      if (group.routed()) gates += chosen_.gates[static_cast<size_t>(slot)];
    }
    at("unrouted", group.name) += unrouted;
    at("gate", group.name) += gates;
  }

  void add_fan_out(const std::vector<int64_t>& experts_of_row) {
    for (size_t modality = 0; modality < kModalities; ++modality) {
      std::array<int64_t, kFanOut> rows{};
      for (int32_t row : rows_.of_modality[modality].index.to_vector<int32_t>())
        ++rows[std::min(static_cast<size_t>(experts_of_row[static_cast<size_t>(row)]), kFanOut - 1)];
      for (size_t experts = 0; experts < kFanOut; ++experts)
        at("fan_out " + std::to_string(experts), name_of_modality(modality)) +=
            static_cast<double>(rows[experts]);
    }
  }

  const MixtureOfExperts& layer_;
  const std::vector<int64_t>& offsets_;
  const Chosen chosen_;
  const Rows& rows_;
  std::map<std::string, double>& numbers_;
};

std::string prediction_key(const std::string& router, size_t count) {
  return str("prediction ", router, " ", count);
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

}  // namespace

double loss_of_leaf(const Batch& batch, const Loss& loss) {
  double sum = 0;  // rows that are not scored hold zero
  for (float nats : loss.nll.to_vector<float>()) sum += nats;
  int64_t scored = 0;
  for (int64_t targets : batch.target_counts) scored += targets;
  return sum / static_cast<double>(scored);
}

StepStatistics::StepStatistics(const Transformer& model, const ModelConfig& config,
                               const Vocabulary& vocabulary)
    : model_(model), vocabulary_(vocabulary) {
  if (config.auxiliary_routers) auxiliary_ = router_names(config);
  for (const char* name : {"rows", "flops", "output_squares"}) zeros_[name] = 0;
  for (size_t modality = 0; modality < kModalities; ++modality)
    zeros_["nll/" + name_of_modality(modality)] = 0;
  for (const std::string& router : auxiliary_)
    for (size_t count = 0; count < PredictionCounts::kCounts; ++count)
      zeros_[prediction_key(router, count)] = 0;
  for_each_depth_router(model_, [&](const DepthRouter& router) {
    for (size_t modality = 0; modality < kModalities; ++modality)
      for (const char* what : {"depth tokens", "depth taken"})
        zeros_[key(router.layer, what, name_of_modality(modality))] = 0;
    for (const char* what : {"cutoff", "cutoffs"}) zeros_[key(router.layer, what, "depth")] = 0;
  });
  for_each_expert_layer(model_, [&](const MixtureOfExperts& layer) {
    for (const ExpertGroup& group : layer.groups)
      for (const char* what : {"tokens", "unrouted", "gate"}) zeros_[key(layer.layer, what, group.name)] = 0;
    for (const std::string& label : layer.labels)
      for (const char* what : {"slots", "cutoff", "cutoffs"}) zeros_[key(layer.layer, what, label)] = 0;
    for (size_t modality = 0; modality < kModalities; ++modality)
      for (size_t experts = 0; experts < kFanOut; ++experts)
        zeros_[key(layer.layer, "fan_out " + std::to_string(experts), name_of_modality(modality))] = 0;
  });
}

void StepStatistics::add(const Batch& batch, const Loss& loss, const Rows& rows, const Ledger& ledger) {
  Numbers numbers = zeros_;
  const std::span<const int32_t> targets = batch.targets.values<int32_t>();
  const std::vector<float> nll = loss.nll.to_vector<float>();
  std::array<double, kModalities> sums{};
  for (size_t row = 0; row < targets.size(); ++row)
    if (targets[row] >= 0) sums[static_cast<size_t>(vocabulary_.modality_of(targets[row]))] += nll[row];
  for (size_t modality = 0; modality < kModalities; ++modality)
    numbers.at("nll/" + name_of_modality(modality)) = sums[modality];
  leaf_losses_.push_back({batch.leaf, loss_of_leaf(batch, loss)});
  numbers.at("rows") = static_cast<double>(batch.tokens.count());
  numbers.at("flops") = static_cast<double>(ledger.total().flops());
  const double output_norm = norm_of(*rows.output);
  numbers.at("output_squares") = output_norm * output_norm / static_cast<double>(batch.tokens.count());
  add_routing(rows, numbers);
  for (const std::string& router : auxiliary_) {
    const PredictionCounts counted = count_prediction(rows.record->predictions.at(router));
    for (size_t count = 0; count < PredictionCounts::kCounts; ++count)
      numbers.at(prediction_key(router, count)) = counted.counts[count];
  }
  std::vector<double>& leaf = leaves_.emplace_back();
  for (const auto& [name, number] : numbers) leaf.push_back(number);
}

void StepStatistics::add_routing(const Rows& rows, Numbers& numbers) const {
  for_each_depth_router(model_, [&](const DepthRouter& router) {
    const DepthRouting& depth = rows.record->depths.at(router.layer);
    for (size_t modality = 0; modality < kModalities; ++modality) {
      const std::string name = name_of_modality(modality);
      const auto count = [](const Candidates& of) { return static_cast<double>(of.index.count()); };
      numbers.at(key(router.layer, "depth tokens", name)) = count(rows.of_modality[modality]);
      numbers.at(key(router.layer, "depth taken", name)) = count(depth.rows.of_modality[modality]);
    }
    const Chosen chosen(depth.chosen);
    if (const auto least = cutoff(chosen, 0, std::ssize(chosen.rows), pools_of(rows, router.config))) {
      numbers.at(key(router.layer, "cutoff", "depth")) = *least;
      numbers.at(key(router.layer, "cutoffs", "depth")) = 1;
    }
  });
  for_each_expert_layer(model_, [&](const MixtureOfExperts& layer) {
    const auto depth = rows.record->depths.find(layer.layer);
    const Rows& inside = depth == rows.record->depths.end() ? rows : depth->second.rows;
    LayerNumbers(layer, rows.record->experts.at(layer.layer), inside, numbers).add();
  });
}

std::vector<double> sum_over_leaves(const std::vector<std::vector<double>>& rows, int64_t leaves,
                                    size_t width, const Mesh& mesh) {
  std::vector<Mesh::Turn> turns;
  size_t rounds = 0;
  for (int64_t leaf = 0; leaf < leaves; ++leaf) {
    turns.push_back(mesh.turn_of(leaf, leaves));
    rounds = std::max(rounds, static_cast<size_t>(turns.back().round) + 1);
  }
  // Ranks with fewer leaves than others send zeros that nobody reads.
  std::vector<double> mine(rounds * width, 0.0);
  for (size_t turn = 0; turn < rows.size(); ++turn)
    std::copy(rows[turn].begin(), rows[turn].end(), mine.begin() + static_cast<int64_t>(turn * width));
  const std::vector<double> all = all_gather_values(mesh.world(), mine);
  std::vector<double> sums;
  for (size_t column = 0; column < width; ++column) {
    CanonicalSum<double> sum;
    for (const auto& [rank, round] : turns)
      sum.push(all[(static_cast<size_t>(rank) * rounds + static_cast<size_t>(round)) * width + column]);
    sums.push_back(sum.total());
  }
  return sums;
}

StepSummary StepStatistics::total(const StepPlan& plan, const Mesh& mesh) {
  const std::vector<double> totals = sum_over_leaves(leaves_, plan.leaves, zeros_.size(), mesh);
  leaves_.clear();
  last_leaves_ = std::exchange(leaf_losses_, {});
  Numbers sums = zeros_;
  size_t column = 0;
  for (auto& [name, sum] : sums) sum = totals[column++];

  StepSummary summary;
  double nll = 0;
  for (size_t modality = 0; modality < kModalities; ++modality) {
    const double sum = sums.at("nll/" + name_of_modality(modality));
    nll += sum;
    const int64_t count = plan.target_counts[modality];
    summary.loss_of.push_back(count ? std::optional(sum / static_cast<double>(count)) : std::nullopt);
  }
  summary.loss = nll / static_cast<double>(plan.target_count);
  summary.tokens = sums.at("rows");
  summary.flops = sums.at("flops");
  summary.output_norm = std::sqrt(sums.at("output_squares") / static_cast<double>(plan.leaves));
  summarize_routing(sums, summary);
  for (const std::string& router : auxiliary_)
    for (size_t count = 0; count < PredictionCounts::kCounts; ++count)
      summary.predictions[router].counts[count] = sums.at(prediction_key(router, count));
  return summary;
}

void StepStatistics::summarize_routing(const Numbers& sums, StepSummary& summary) const {
  const auto add_cutoff = [&](int64_t block, const std::string& label) {
    const double leaves = sums.at(key(block, "cutoffs", label));
    if (leaves > 0) summary.cutoff[str(block, "/", label)] = sums.at(key(block, "cutoff", label)) / leaves;
  };
  for_each_depth_router(model_, [&](const DepthRouter& router) {
    for (size_t modality = 0; modality < kModalities; ++modality) {
      const std::string name = name_of_modality(modality);
      summary.depth[str(router.layer, "/", name)] = share(sums.at(key(router.layer, "depth taken", name)),
                                                          sums.at(key(router.layer, "depth tokens", name)));
    }
    add_cutoff(router.layer, "depth");
  });
  for_each_expert_layer(model_, [&](const MixtureOfExperts& layer) {
    const auto sum = [&](const std::string& what, const std::string& of) {
      return sums.at(key(layer.layer, what, of));
    };
    const std::string prefix = str(layer.layer, "/");
    size_t label = 0;
    for (const ExpertGroup& group : layer.groups) {
      const double tokens = sum("tokens", group.name);
      double slots = 0;
      summary.unrouted[prefix + group.name] = share(sum("unrouted", group.name), tokens);
      for (int64_t i = 0; i < group.experts; ++i, ++label) {
        const std::string& expert = layer.labels[label];
        slots += sum("slots", expert);
        summary.expert_load[prefix + expert] = share(sum("slots", expert), tokens);
        add_cutoff(layer.layer, expert);
      }
      if (group.routed()) summary.gate[prefix + group.name] = share(sum("gate", group.name), slots);
    }
    if (!layer.router) return;
    for (size_t modality = 0; modality < kModalities; ++modality) {
      const std::string name = name_of_modality(modality);
      std::array<double, kFanOut> counts{};
      double all = 0;
      for (size_t experts = 0; experts < kFanOut; ++experts)
        all += counts[experts] = sum("fan_out " + std::to_string(experts), name);
      for (double& count : counts) count = share(count, all);
      summary.fan_out[prefix + name] = counts;
    }
  });
}

}  // namespace tessera
