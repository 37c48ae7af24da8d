#include "tests/support/causal_models.h"

#include "runtime/random.h"

namespace tessera {

std::vector<ModelConfig> causal_models() {
  std::vector<ModelConfig> all;
  for (const char* feed_forward : {"dense", "1t1i", "2t3i", "moe_4x", "2t2i+shared", "moe_3x+shared"})
    for (const std::vector<double>& depth : {std::vector<double>{1}, std::vector<double>{0.5, 1}}) {
      all.push_back(tiny_config({feed_forward}));
      all.back().depth_capacity = depth;
      all.push_back(all.back());
      all.back().norm = "pre";
    }
  all.push_back(tiny_config({"2t2i"}));
  all.back().gate_order = "norm_then_gate";
  for (ModelConfig& config : all) config.auxiliary_routers = config.routes_by_rank();
  return all;
}

Thresholds thresholds_of(const ModelConfig& config) {
  std::map<std::string, double> cutoffs;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const auto add = [&](const std::string& label) {
      const std::string column = str(layer, "/", label);
      cutoffs[column] = 0.4 + 0.2 * random_uniform(1, Purpose(column), 0);
    };
    if (config.routes_depth(layer)) add("depth");
    for (const ExpertGroup& group : parse_feed_forward(config.feed_forward_of(layer)))
      for (int64_t expert = 0; expert < group.experts; ++expert) add(str(group.name, "/", expert));
  }
  Thresholds thresholds;
  thresholds.update(cutoffs, 0.5);
  return thresholds;
}

std::vector<CausalCase> causal_cases() {
  std::vector<CausalCase> all;
  for (const ModelConfig& config : causal_models())
    for (bool by_prediction : {false, true})
      for (DType compute : {DType::f32, DType::bf16})
        if (!by_prediction || config.auxiliary_routers)
          all.push_back(
              {config, by_prediction, compute,
               str(config.feed_forward[0], " ", config.norm, " ", config.gate_order, " depth ",
                   config.depth_capacity[0], by_prediction ? " predicted " : " thresholds ", compute)});
  return all;
}

Values decoded_logits(Transformer& model, const TinyRows& tiny,
                      const std::vector<std::vector<Piece>>& readings, KeyValueCache& cache, Stream stream) {
  const auto vocab = static_cast<size_t>(model.head.layer.weight.shape[0]);
  Values logits(tiny.host.tokens.size() * vocab);
  for (const std::vector<Piece>& pieces : readings) {
    std::vector<std::vector<int64_t>> documents;
    std::vector<int32_t> tokens, positions;
    std::vector<size_t> places;
    std::vector<int64_t> sequences;
    for (const auto& [sequence, begin, count] : pieces) {
      documents.push_back({count});
      sequences.push_back(sequence);
      for (int64_t i = begin; i < begin + count; ++i) {
        places.push_back(static_cast<size_t>(tiny.host.segments[static_cast<size_t>(sequence)] + i));
        tokens.push_back(tiny.host.tokens[places.back()]);
        positions.push_back(static_cast<int32_t>(i));
      }
    }
    TinyRows part = with_tokens(tiny_rows(documents, Modalities::both, stream, 0), tokens);
    part.rows.positions = Tensor::from(positions, {std::ssize(positions)}, stream);
    part.rows.thresholds = tiny.rows.thresholds;
    part.rows.by_prediction = tiny.rows.by_prediction;
    part.rows.cache = &cache;
    part.rows.sequences = sequences;
    const std::vector<float> read = model.head(model.hidden(part.rows)).value().to_vector<float>();
    for (size_t row = 0; row < places.size(); ++row)
      std::copy_n(read.begin() + static_cast<int64_t>(row * vocab), vocab,
                  logits.begin() + static_cast<int64_t>(places[row] * vocab));
  }
  return logits;
}

}  // namespace tessera
