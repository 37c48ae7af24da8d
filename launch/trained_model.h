#pragma once
// A model read back from a checkpoint.

#include <string>

#include "data/shard.h"
#include "launch/run_state.h"
#include "layers/transformer.h"
#include "runtime/cpu_engine.h"

namespace tessera {

class TrainedModel {
 public:
  /// Collective.  Builds the model of the checkpoint's config and reads its parameters.  Throws AgreedError when the
  /// checkpoint is damaged or not of a model this program knows.
  TrainedModel(const std::string& checkpoint, Communicator& world, Stream stream);

  const Config& config() const { return saved_.state.config; }
  int64_t step() const { return saved_.step; }
  const Thresholds& thresholds() const { return saved_.state.thresholds; }
  Transformer& model() { return model_; }
  Shards& shards() { return shards_; }

  /// folder, or where it is empty that of the data which the model was trained on.
  const std::string& data_folder(const std::string& folder) const;
  /// Throws Error when the dataset's vocabulary is not the model's.
  DatasetIndex read_data_index(const std::string& folder) const;
  /// Opens a dataset: the one the model was trained on when folder is empty.  Throws Error when its vocabulary is not the
  /// model's.
  TokenDataset open_data(const std::string& folder, const std::string& split) const;

 private:
  SavedRun saved_;
  Transformer model_;
  Shards shards_;
};

}  // namespace tessera
