#include "launch/run_state.h"

#include "parallel/checkpoint.h"

namespace tessera {

RunState run_state(const Config& config, const DatasetIndex& index, Isa isa, const Thresholds& thresholds,
                   const GuardState& guard) {
  return {config,
          name_of(isa),
          {index.fingerprint, index.vocabulary.image_codes, index.vocabulary.text_pieces},
          thresholds,
          guard};
}

SavedRun read_saved_run(const std::string& checkpoint) {
  const Json manifest = read_checkpoint_manifest(checkpoint);
  SavedRun saved{.step = manifest.at("step").get<int64_t>(), .state = {}};
  from_json(manifest.at("state"), checkpoint + "/manifest.json: state", saved.state);
  check(saved.state.config.model);
  return saved;
}

}  // namespace tessera
