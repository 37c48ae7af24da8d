#include "layers/feed_forward.h"

#include <algorithm>

#include "layers/residual.h"
#include "layers/row_choice.h"

namespace tessera {
namespace {

/// By group and expert.
SlotCounts counts_of(const std::vector<int64_t>& offsets, const std::vector<ExpertGroup>& groups) {
  SlotCounts counts;
  size_t expert = 0;
  for (const ExpertGroup& group : groups) {
    std::vector<int64_t>& of_group = counts.emplace_back();
    for (int64_t i = 0; i < group.experts; ++i, ++expert)
      of_group.push_back(offsets[expert + 1] - offsets[expert]);
  }
  return counts;
}

}  // namespace

const Candidates& candidates_of(const ExpertGroup& group, const Rows& rows) {
  return group.modalities.size() == 1 ? rows.of_modality[static_cast<size_t>(group.modalities[0])] : rows.all;
}

Mlp::Mlp(const ModelConfig& model)
    : norm({model.width}, Init::ones),
      gate({model.inner(), model.width}),
      up({model.inner(), model.width}),
      down({model.width, model.inner()}),
      config(model) {}

Var Mlp::operator()(const Var& x, const Rows&) {
  return residual(x, norm, config, [&](const Var& in) {
    // A node of its own sums the gradients of gate and up before the residual's joins them, as the gather of experts does: one
    // expert per modality gives the bits of this network.
    return swiglu_network(reshape(in, in.shape()), gate, up, down, {});
  });
}

MixtureOfExperts::MixtureOfExperts(const ModelConfig& model, std::vector<ExpertGroup> expert_groups,
                                   int64_t index)
    : norm({model.width}, Init::ones), config(model), groups(std::move(expert_groups)), layer(index) {
  int64_t routed = 0;
  for (const ExpertGroup& group : groups) {
    if (group.routed()) {
      routed += group.experts;
      if (config.auxiliary_routers) auxiliary.emplace_back(config, group.experts);
    }
    experts.push_back({ExpertNetworks(model, group)});
    const std::vector<std::string>& more = experts.back().layer.labels;
    labels.insert(labels.end(), more.begin(), more.end());
  }
  if (routed > 0) router.emplace(Shape{routed, model.width});
}

Var MixtureOfExperts::operator()(const Var& x, const Rows& rows) {
  if (config.gate_order == "norm_then_gate") return add(x, mix(x, rows));
  return residual(x, norm, config, [&](const Var& in) { return mix(in, rows); });
}

Var MixtureOfExperts::mix(const Var& x, const Rows& rows) {
  const LayerRouting chosen = route(x, rows);
  if (rows.record) rows.record->experts[layer] = chosen;
  const SlotCounts own = counts_of(chosen.routing.offsets, groups);
  Var done =
      run_experts(experts, gather(x, chosen.routing), own, slots_of_peers(own, rows), rows.recompute.experts);
  if (config.gate_order == "norm_then_gate") done = rms_norm(done, norm, config.epsilon);
  return combine(done, chosen.gates, chosen.routing);
}

LayerRouting MixtureOfExperts::route(const Var& x, const Rows& rows) {
  LayerRouting chosen;
  if (router) chosen.scores = sigmoid(noisy(matmul_f32(x, *router), rows));
  chosen.routing = rows.replay ? rows.replay->experts.at(layer).routing : choose(x, chosen.scores, rows);
  chosen.gates = gates(chosen);
  return chosen;
}

Var MixtureOfExperts::noisy(const Var& logits, const Rows& rows) const {
  if (!config.router_noise || !rows.noise) return logits;
  const auto [seed, step, leaf] = *rows.noise;
  const Purpose purpose(str("router noise ", layer, " ", step, " ", leaf));
  return add(logits, logistic_noise(logits.shape(), seed, purpose, logits.stream()));
}

Routing MixtureOfExperts::choose(const Var& x, const Var& scores, const Rows& rows) {
  std::vector<Tensor> parts;
  std::vector<int64_t> offsets{0};
  int64_t column = 0;
  auto of_group = auxiliary.begin();
  for (const ExpertGroup& group : groups) {
    const Candidates& candidates = candidates_of(group, rows);
    RowChoice choice{candidates.index, {candidates.index.count()}};
    if (group.routed()) {
      RouterColumns columns{group.experts, column, config.capacity, str(layer, "/", group.name), {}};
      for (int64_t expert = 0; expert < group.experts; ++expert)
        columns.labels.push_back(str(layer, "/", labels[offsets.size() - 1 + static_cast<size_t>(expert)]));
      const RouterInputs inputs{x, scores, auxiliary.empty() ? nullptr : &*of_group++};
      choice = choose_rows(inputs, candidates, columns, config.routing_pool, rows);
      column += group.experts;
    }
    for (int64_t count : choice.counts) offsets.push_back(offsets.back() + count);
    parts.push_back(choice.index);
  }
  Tensor index = Tensor::empty({offsets.back()}, DType::i32, rows.tokens.stream());
  int64_t begin = 0;
  for (const Tensor& part : parts) {
    copy(part, index.slice(begin, part.shape()));
    begin += part.count();
  }
  return make_routing(index, std::move(offsets), rows.tokens.count());
}

Var MixtureOfExperts::gates(const LayerRouting& chosen) const {
  if (!router) return {};
  const Routing& routing = chosen.routing;
  std::vector<Var> parts;
  int64_t expert = 0, column = 0;
  for (const ExpertGroup& group : groups) {
    const auto offset = [&](int64_t i) { return routing.offsets[static_cast<size_t>(expert + i)]; };
    const int64_t begin = offset(0), slots = offset(group.experts) - begin;
    if (group.routed()) {
      // The router's columns of other groups own none of these slots.
      std::vector<int64_t> columns(static_cast<size_t>(column), 0);
      for (int64_t i = 0; i <= group.experts; ++i) columns.push_back(offset(i) - begin);
      columns.resize(static_cast<size_t>(chosen.scores.shape()[1]) + 1, slots);
      parts.push_back(pick(chosen.scores, routing.index.slice(begin, {slots}), columns));
      column += group.experts;
    } else {
      const std::vector<float> ones(static_cast<size_t>(slots), 1.0f);
      parts.push_back(Tensor::from(ones, {slots}, chosen.scores.stream()));
    }
    expert += group.experts;
  }
  return parts.size() == 1 ? parts[0] : concat(parts);
}

std::vector<SlotCounts> MixtureOfExperts::slots_of_peers(const SlotCounts& own, const Rows& rows) const {
  Communicator* over = nullptr;
  for (const Sharded<ExpertNetworks>& group : experts)
    if (!over) over = group.group.dealt_over();
  if (!over) return {};
  std::vector<SlotCounts> of_peers;
  for (const PoolTokens& tokens : rows.of_peers) {
    SlotCounts& counts = of_peers.emplace_back();
    for (const ExpertGroup& group : groups)
      counts.emplace_back(static_cast<size_t>(group.experts), slots_of_each(config, group, tokens));
  }
  if (!of_peers.empty()) return of_peers;
  // Which rows enter a layer with mixture-of-depths is known to nobody beforehand.
  std::vector<double> mine;
  for (const std::vector<int64_t>& of_group : own) mine.insert(mine.end(), of_group.begin(), of_group.end());
  const std::vector<double> all = all_gather_values(*over, mine);
  for (auto count = all.begin(); count != all.end();) {
    SlotCounts& counts = of_peers.emplace_back(own);
    for (std::vector<int64_t>& of_group : counts)
      for (int64_t& slots : of_group) slots = static_cast<int64_t>(*count++);
  }
  return of_peers;
}

}  // namespace tessera
