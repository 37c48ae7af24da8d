#include "launch/export_safetensors.h"

#include <algorithm>
#include <filesystem>

#include "parallel/checkpoint.h"
#include "parallel/checkpoint_reader.h"
#include "parallel/safetensors.h"

namespace tessera {

void export_safetensors(const ExportOptions& options) {
  constexpr int64_t kPart = 1 << 22;  // elements: memory does not grow with the model
  std::string checkpoint = options.checkpoint;
  if (!std::filesystem::exists(manifest_path(checkpoint))) {
    const std::optional<std::string> latest = latest_checkpoint(checkpoint);
    TESSERA_CHECK(latest, checkpoint, ": neither is a checkpoint nor holds one");
    checkpoint = *latest;
  }
  verify_checkpoint(checkpoint, *solo_communicator());
  const CheckpointManifest manifest = parse_manifest(checkpoint);
  const Json state = read_checkpoint_manifest(checkpoint).at("state");
  SafetensorsWriter writer(
      options.out, manifest.parameters, options.dtype == "bf16" ? DType::bf16 : DType::f32,
      {{"format", "pt"}, {"tessera.step", std::to_string(manifest.step)}, {"tessera.state", state.dump()}});
  CheckpointReader reader(checkpoint, manifest);
  std::vector<float> values;
  for (const auto& [name, sizes] : manifest.parameters) {
    int64_t count = 1;
    for (int64_t size : sizes) count *= size;
    for (int64_t at = 0; at < count; at += kPart) {
      values.resize(static_cast<size_t>(std::min(kPart, count - at)));
      reader.read("/parameters/", name, at, values);
      writer.append(values);
    }
  }
  writer.finish();
}

}  // namespace tessera
