#include "launch/decoder.h"

namespace tessera {

CausalRouting causal_routing_of(const TrainedModel& trained, const std::string& name) {
  const ModelConfig& model = trained.config().model;
  if (!model.routes_by_rank()) return CausalRouting::none;
  const bool has_thresholds = !trained.thresholds().empty();
  if (model.auxiliary_routers && name != "thresholds") return CausalRouting::auxiliary_routers;
  TESSERA_CHECK(name != "auxiliary_routers",
                "the model has no auxiliary routers: train them with tessera train-routers");
  TESSERA_CHECK(
      has_thresholds,
      "the model's routers compare tokens with later ones, and it has no thresholds to route by: train "
      "auxiliary routers with tessera train-routers");
  return CausalRouting::thresholds;
}

Decoder::Decoder(TrainedModel& trained, const Vocabulary& vocabulary, CausalRouting routing,
                 int64_t sequences, int64_t capacity, Stream stream)
    : trained_(trained),
      vocabulary_(vocabulary),
      routing_(routing),
      cache_(trained.config().model, sequences, capacity),
      lengths_(static_cast<size_t>(sequences), 0),
      stream_(stream) {}

Rows Decoder::rows_of(std::span<const Reading> readings) {
  std::vector<int32_t> tokens, positions, all;
  std::vector<std::vector<int32_t>> of_modality(kModalities);
  Rows rows;
  rows.segments = {0};
  for (const auto& [sequence, added] : readings) {
    TESSERA_CHECK(!added.empty(), "decoder: nothing to read for sequence ", sequence);
    int64_t& length = lengths_.at(static_cast<size_t>(sequence));
    for (int32_t token : added) {
      const auto row = static_cast<int32_t>(tokens.size());
      of_modality[static_cast<size_t>(vocabulary_.modality_of(token))].push_back(row);
      all.push_back(row);
      tokens.push_back(token);
      positions.push_back(static_cast<int32_t>(length++));
    }
    rows.segments.push_back(std::ssize(tokens));
    rows.sequences.push_back(sequence);
  }
  const auto tensor = [&](const std::vector<int32_t>& values) {
    return Tensor::from(values, {std::ssize(values)}, stream_);
  };
  const auto candidates = [&](const std::vector<int32_t>& index) {
    return Candidates{tensor(index), {0, std::ssize(index)}};
  };
  rows.tokens = tensor(tokens);
  rows.positions = tensor(positions);
  for (const std::vector<int32_t>& index : of_modality) rows.of_modality.push_back(candidates(index));
  rows.all = candidates(all);
  rows.cache = &cache_;
  if (routing_ == CausalRouting::thresholds) rows.thresholds = &trained_.thresholds();
  rows.by_prediction = routing_ == CausalRouting::auxiliary_routers;
  return rows;
}

std::vector<std::vector<float>> Decoder::read(std::span<const Reading> readings) {
  const Rows rows = rows_of(readings);
  const Var hidden = trained_.model().hidden(rows);
  std::vector<int32_t> last;
  for (size_t segment = 1; segment < rows.segments.size(); ++segment)
    last.push_back(static_cast<int32_t>(rows.segments[segment] - 1));
  const auto count = std::ssize(last);
  const Routing lasts = make_routing(Tensor::from(last, {count}, stream_), {0, count}, hidden.shape()[0]);
  const std::vector<float> values = trained_.model().head(gather(hidden, lasts)).value().to_vector<float>();
  const auto vocab = std::ssize(values) / count;
  std::vector<std::vector<float>> logits;
  for (int64_t i = 0; i < count; ++i)
    logits.emplace_back(values.begin() + i * vocab, values.begin() + (i + 1) * vocab);
  return logits;
}

void Decoder::forget(int64_t sequence) {
  cache_.clear(sequence);
  lengths_.at(static_cast<size_t>(sequence)) = 0;
}

}  // namespace tessera
