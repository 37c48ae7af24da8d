#include "launch/trained_model.h"

#include "parallel/checkpoint.h"

namespace tessera {

TrainedModel::TrainedModel(const std::string& checkpoint, Communicator& world, Stream stream)
    : TrainedModel(checkpoint, read_checkpoint_manifest(checkpoint), world, stream) {}

TrainedModel::TrainedModel(const std::string& checkpoint, const Json& manifest, Communicator& world,
                           Stream stream)
    : checkpoint_(checkpoint),
      state_(manifest.at("state")),
      step_(manifest.at("step").get<int64_t>()),
      config_(config_from(state_.at("config"), checkpoint)),
      model_(config_.model),
      shards_(shard(model_, world, stream, {config_.compute_dtype(), config_.reshard_after_forward},
                    static_cast<uint64_t>(config_.seed), config_.model.deviation)) {
  load_checkpoint(checkpoint, {shards_.pieces(), nullptr}, world);
}

TokenDataset TrainedModel::open_data(const std::string& folder, const std::string& split) const {
  TokenDataset dataset(folder.empty() ? config_.data : folder, split);
  const Json& data = state_.at("data");
  require_vocabulary(dataset.index(), dataset.folder(),
                     {data.at("image_codes").get<int64_t>(), data.at("text_pieces").get<int64_t>()});
  return dataset;
}

}  // namespace tessera
