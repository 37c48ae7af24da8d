#include "launch/trained_model.h"

#include "parallel/agree.h"
#include "parallel/checkpoint.h"

namespace tessera {
namespace {

SavedRun read_agreed(const std::string& checkpoint, Communicator& world) {
  SavedRun saved;
  agree(world, [&] { saved = read_saved_run(checkpoint); });
  return saved;
}

}  // namespace

TrainedModel::TrainedModel(const std::string& checkpoint, Communicator& world, Stream stream)
    : saved_(read_agreed(checkpoint, world)),
      model_(config().model),
      shards_(shard(model_, Mesh(world), stream,
                    {config().compute_dtype(), config().reshard_after_forward && world.size() > 1},
                    static_cast<uint64_t>(config().seed), config().model.deviation)) {
  load_checkpoint(checkpoint, {shards_.pieces(), nullptr}, world);
}

const std::string& TrainedModel::data_folder(const std::string& folder) const {
  return folder.empty() ? config().data : folder;
}

DatasetIndex TrainedModel::read_data_index(const std::string& folder) const {
  DatasetIndex index = read_index(data_folder(folder));
  require_vocabulary(index, data_folder(folder), saved_.state.data.vocabulary());
  return index;
}

TokenDataset TrainedModel::open_data(const std::string& folder, const std::string& split) const {
  TokenDataset dataset(data_folder(folder), split);
  require_vocabulary(dataset.index(), dataset.folder(), saved_.state.data.vocabulary());
  return dataset;
}

}  // namespace tessera
