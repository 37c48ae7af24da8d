#include "launch/rows.h"

#include <algorithm>

namespace tessera {
namespace {

/// Where each unit begins among increasing row numbers.
Candidates candidates(const Tensor& index, const std::vector<int64_t>& units, Stream stream) {
  const std::span<const int32_t> rows = index.values<int32_t>();
  Candidates result{index.to(stream), {}};
  for (int64_t unit : units)
    result.units.push_back(std::lower_bound(rows.begin(), rows.end(), unit) - rows.begin());
  return result;
}

}  // namespace

Rows rows_of(const Batch& batch, Stream stream) {
  Rows rows{batch.tokens.to(stream), batch.positions.to(stream), batch.segments, {}, {}};
  std::vector<int32_t> all;
  for (const ModalityRows& modality : batch.rows) {
    rows.of_modality.push_back(candidates(modality.index, batch.units, stream));
    const std::span<const int32_t> index = modality.index.values<int32_t>();
    all.insert(all.end(), index.begin(), index.end());
  }
  std::sort(all.begin(), all.end());
  const auto count = static_cast<int64_t>(all.size());
  rows.all = candidates(Tensor::from(all, {count}, batch.tokens.stream()), batch.units, stream);
  return rows;
}

PoolTokens pool_tokens(const std::vector<PerModality>& of_units, const std::string& routing_pool) {
  PoolTokens pools;
  for (const PerModality& unit : of_units) {
    if (pools.empty() || routing_pool == "sequence") pools.emplace_back(kModalities, 0);
    for (size_t modality = 0; modality < kModalities; ++modality) pools.back()[modality] += unit[modality];
  }
  return pools;
}

Rows rows_of_round(const Batch& batch, const Config& config, const Mesh& mesh, const Loader& loader,
                   int64_t step, int64_t round, Routings& routings, Stream stream) {
  Rows rows = rows_of(batch, stream);
  rows.recompute = config.recomputed();
  rows.record = &routings;
  const int peers = mesh.expert().size();
  if (peers == 1) return rows;
  const LeafRange leaves = mesh.round_of_this_replica(round, loader.sampler().leaves());
  const int64_t first = leaves.first + mesh.replica().rank() - mesh.expert().rank();
  const std::string& pool = config.model.routing_pool;
  for (int64_t leaf = first; leaf < first + peers; ++leaf)
    rows.of_peers.push_back(leaf < leaves.end ? pool_tokens(loader.token_counts(step, leaf), pool)
                                              : PoolTokens());
  return rows;
}

FlopInputs flop_inputs(const Rows& rows, const ModelConfig& config, const Routings& routings) {
  FlopInputs inputs{rows.tokens.count(), {}, {}, {}};
  for (size_t i = 0; i + 1 < rows.segments.size(); ++i)
    inputs.segment_lengths.push_back(rows.segments[i + 1] - rows.segments[i]);
  const bool by_unit = config.routing_pool == "sequence";
  inputs.tokens.resize(by_unit ? rows.all.units.size() - 1 : 1);
  for (const Candidates& candidates : rows.of_modality) {
    for (size_t pool = 0; pool < inputs.tokens.size(); ++pool)
      inputs.tokens[pool].push_back(by_unit ? candidates.units[pool + 1] - candidates.units[pool]
                                            : candidates.index.count());
  }
  for (const auto& [layer, depth] : routings.depths)
    inputs.taken[layer] = std::make_shared<const FlopInputs>(flop_inputs(depth.rows, config, Routings()));
  return inputs;
}

}  // namespace tessera
