#include "tests/support/transformer_reference.h"

#include <algorithm>
#include <cmath>

#include "runtime/random.h"

namespace tessera::reference {
namespace {

struct Model {
  const ModelConfig& config;
  const Parameters& parameters;
  const ModelInputs& inputs;
  const ModelRouting& routing;
  double* prediction_loss = nullptr;  ///< where auxiliary routers add theirs, if anywhere

  /// taken: by expert, the rows that it takes.
  void predict(const Values& x, const std::string& path, const std::vector<int>& modalities,
               const std::vector<std::vector<int32_t>>& taken) const {
    const int64_t width = config.width, experts = std::ssize(taken);
    std::vector<int32_t> candidates;
    for (int32_t row = 0; row < rows(); ++row)
      if (std::ranges::find(modalities, inputs.modalities[static_cast<size_t>(row)]) != modalities.end())
        candidates.push_back(row);
    const std::vector<int64_t> all{0, std::ssize(candidates)};
    Values hidden = matmul(gather(x, candidates, width), parameters.at(path + "in"), all, width, width / 2);
    for (double& value : hidden) value /= 1 + std::exp(-value);
    const Values logits = matmul(hidden, parameters.at(path + "out"), all, width / 2, experts);
    double sum = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      const std::vector<int32_t>& rows_of_expert = taken[i % static_cast<size_t>(experts)];
      const int32_t row = candidates[i / static_cast<size_t>(experts)];
      const bool was_taken = std::ranges::find(rows_of_expert, row) != rows_of_expert.end();
      sum += std::log1p(std::exp(was_taken ? -logits[i] : logits[i]));
    }
    if (!logits.empty()) *prediction_loss += sum / static_cast<double>(logits.size());
  }

  int64_t rows() const { return std::ssize(inputs.tokens); }

  Values linear(const Values& x, const std::string& name, int64_t in, int64_t out) const {
    return matmul(x, parameters.at(name), std::vector<int64_t>{0, rows()}, in, out);
  }

  Values residual(const Values& x, const std::string& norm,
                  const std::function<Values(const Values&)>& branch) const {
    const Values& weight = parameters.at(norm);
    const double epsilon = config.epsilon;
    return config.norm == "post" ? add(x, rms_norm(branch(x), weight, epsilon))
                                 : add(x, branch(rms_norm(x, weight, epsilon)));
  }

  Values attend(const Values& x, const std::string& path) const {
    const int64_t width = config.width, heads = config.heads, head_dim = width / heads;
    const auto rotated = [&](const std::string& matrix, const std::string& norm) {
      Values projected = linear(x, path + matrix, width, width);
      if (config.qk_norm)
        projected = layer_norm(projected, parameters.at(path + norm + ".weight"),
                               parameters.at(path + norm + ".bias"), config.epsilon);
      return rope(projected, inputs.positions, heads, head_dim, config.rope_base);
    };
    const Values mixed = attention(rotated("wq", "q_norm"), rotated("wk", "k_norm"),
                                   linear(x, path + "wv", width, width), inputs.segments, heads, head_dim);
    return linear(mixed, path + "wo", width, width);
  }

  /// paths: whose matrices stand one after another, for the groups of rows that offsets cut.
  Values network(const Values& x, const std::vector<std::string>& paths, Offsets offsets) const {
    const int64_t width = config.width, inner = config.inner();
    const auto matrices = [&](const std::string& name) {
      Values all;
      for (const std::string& path : paths) {
        const Values& some = parameters.at(path + name);
        all.insert(all.end(), some.begin(), some.end());
      }
      return all;
    };
    const Values gate = matmul(x, matrices("gate"), offsets, width, inner);
    const Values up = matmul(x, matrices("up"), offsets, width, inner);
    return matmul(swiglu(gate, up), matrices("down"), offsets, inner, width);
  }

  Values mix_experts(const Values& x, const std::string& path, int64_t layer) const {
    const ExpertSlots& slots = routing.experts.at(layer);
    const std::vector<ExpertGroup> groups = parse_feed_forward(config.feed_forward_of(layer));
    int64_t columns = 0;
    for (const ExpertGroup& group : groups) columns += group.routed() ? group.experts : 0;
    Values logits = columns ? linear(x, path + "router", config.width, columns) : Values();
    if (config.router_noise && inputs.noise) {
      const auto [seed, step, leaf] = *inputs.noise;
      const Purpose purpose(str("router noise ", layer, " ", step, " ", leaf));
      for (size_t i = 0; i < logits.size(); ++i) {
        const double u = random_uniform(seed, purpose, i);
        logits[i] += std::log(u / (1 - u));
      }
    }
    const Values scores = sigmoid(logits);
    Values gates;
    size_t expert = 0, routed_group = 0;
    int64_t column = 0;
    for (const ExpertGroup& group : groups) {
      if (prediction_loss && group.routed()) {
        std::vector<std::vector<int32_t>> taken;
        for (int64_t i = 0; i < group.experts; ++i) {
          const auto at = [&](int64_t e) {
            return slots.index.begin() + slots.offsets[expert + static_cast<size_t>(e)];
          };
          taken.emplace_back(at(i), at(i + 1));
        }
        predict(x, str(path, "auxiliary.", routed_group++, "."), group.modalities, taken);
      }
      for (int64_t i = 0; i < group.experts; ++i, ++expert) {
        for (int64_t s = slots.offsets[expert]; s < slots.offsets[expert + 1]; ++s)
          gates.push_back(
              group.routed()
                  ? scores[static_cast<size_t>(slots.index[static_cast<size_t>(s)] * columns + column)]
                  : 1);
        if (group.routed()) ++column;
      }
    }
    std::vector<std::string> paths;
    for (const ExpertGroup& group : groups) paths.push_back(str(path, "experts.", group.name, "."));
    Values done = network(gather(x, slots.index, config.width), paths, slots.offsets);
    if (config.gate_order == "norm_then_gate")
      done = rms_norm(done, parameters.at(path + "norm"), config.epsilon);
    return combine(done, gates, slots.index, rows(), config.width);
  }

  Values block(const Values& x, int64_t layer) const {
    const std::string block = "blocks." + std::to_string(layer) + ".";
    const std::string attention_path = block + "attention.", feed_forward_path = block + "feed_forward.";
    const Values mixed =
        residual(x, attention_path + "norm", [&](const Values& in) { return attend(in, attention_path); });
    const bool dense = config.feed_forward_of(layer) == "dense";
    if (!dense && config.gate_order == "norm_then_gate")
      return add(mixed, mix_experts(mixed, feed_forward_path, layer));
    return residual(mixed, feed_forward_path + "norm", [&](const Values& in) {
      return dense ? network(in, {feed_forward_path}, std::vector<int64_t>{0, rows()})
                   : mix_experts(in, feed_forward_path, layer);
    });
  }
};

/// The rows that index names, among themselves.
ModelInputs selected(const ModelInputs& inputs, const std::vector<int32_t>& index) {
  ModelInputs chosen;
  chosen.segments = {0};
  chosen.noise = inputs.noise;
  for (size_t segment = 0; segment + 1 < inputs.segments.size(); ++segment) {
    for (int32_t row : index) {
      if (row < inputs.segments[segment] || row >= inputs.segments[segment + 1]) continue;
      chosen.tokens.push_back(inputs.tokens[static_cast<size_t>(row)]);
      chosen.positions.push_back(inputs.positions[static_cast<size_t>(row)]);
      chosen.modalities.push_back(inputs.modalities[static_cast<size_t>(row)]);
    }
    chosen.segments.push_back(std::ssize(chosen.tokens));
  }
  return chosen;
}

/// x + g (block(chosen rows of x) - chosen rows of x), at the chosen rows.
Values shallow_block(const Model& model, const Values& x, int64_t layer) {
  const ModelConfig& config = model.config;
  const std::vector<int32_t>& index = model.routing.depths.at(layer);
  const ModelInputs inside = selected(model.inputs, index);
  const Values before = gather(x, index, config.width);
  const std::string path = "blocks." + std::to_string(layer) + ".depth.";
  if (model.prediction_loss) model.predict(x, path + "auxiliary.", {0, 1}, {index});
  Values increment =
      Model{config, model.parameters, inside, model.routing, model.prediction_loss}.block(before, layer);
  for (size_t i = 0; i < increment.size(); ++i) increment[i] -= before[i];
  const Values scores = sigmoid(model.linear(x, path + "router", config.width, 1));
  Values gates;
  for (int32_t row : index) gates.push_back(scores[static_cast<size_t>(row)]);
  return add(x, combine(increment, gates, index, model.rows(), config.width));
}

}  // namespace

namespace {

Values logits(const Model& model) {
  const auto& [config, parameters, inputs, routing, prediction_loss] = model;
  Values x = embedding(inputs.tokens, parameters.at("embedding.weight"), config.width);
  for (int64_t layer = 0; layer < config.layers; ++layer)
    x = config.routes_depth(layer) ? shallow_block(model, x, layer) : model.block(x, layer);
  return model.linear(rms_norm(x, parameters.at("head.norm"), config.epsilon), "head.weight", config.width,
                      config.vocab);
}

}  // namespace

Values logits(const ModelConfig& config, const Parameters& parameters, const ModelInputs& inputs,
              const ModelRouting& routing) {
  return logits(Model{config, parameters, inputs, routing});
}

double prediction_loss(const ModelConfig& config, const Parameters& parameters, const ModelInputs& inputs,
                       const ModelRouting& routing) {
  double loss = 0;
  logits(Model{config, parameters, inputs, routing, &loss});
  return loss;
}

double loss(const ModelConfig& config, const Parameters& parameters, const ModelInputs& inputs,
            const ModelRouting& routing) {
  return cross_entropy(logits(config, parameters, inputs, routing), inputs.targets, config.vocab,
                       inputs.scale, inputs.z_loss)
      .total;
}

}  // namespace tessera::reference
