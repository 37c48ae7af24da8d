#include "launch/image_tokenizer_config.h"

#include "parallel/checkpoint.h"

namespace tessera {
namespace {

constexpr const char* kState = "image_tokenizer";

}  // namespace

Json to_checkpoint_state(ImageTokenizerState state) { return {{kState, to_json(state)}}; }

SavedImageTokenizer read_saved_image_tokenizer(const std::string& checkpoint) {
  const Json manifest = read_checkpoint_manifest(checkpoint);
  const Json& state = manifest.at("state");
  TESSERA_CHECK(state.is_object() && state.contains(kState), checkpoint,
                ": is a checkpoint, but not of an image tokenizer");
  SavedImageTokenizer saved{.step = manifest.at("step").get<int64_t>(), .state = {}};
  from_json(state.at(kState), checkpoint + "/manifest.json: state." + kState, saved.state);
  check(saved.state.config.model);
  TESSERA_CHECK(std::ssize(saved.state.window) == saved.state.config.model.codes, checkpoint,
                "/manifest.json: state.", kState, ".window has ", saved.state.window.size(), " counts for ",
                saved.state.config.model.codes, " codes");
  return saved;
}

}  // namespace tessera
