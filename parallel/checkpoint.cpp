#include "parallel/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>

#include "parallel/agree.h"
#include "parallel/checkpoint_reader.h"
#include "parallel/checkpoint_tensors.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::string name_of(const Sizes& sizes) { return Json(sizes).dump(); }

void check_parameters(const CheckpointManifest& manifest, const std::map<std::string, Sizes>& model) {
  for (const auto& [name, sizes] : model) {
    const auto stored = manifest.parameters.find(name);
    TESSERA_CHECK(stored != manifest.parameters.end(), name, " of this model is missing there");
    TESSERA_CHECK(stored->second == sizes, name, " is ", name_of(stored->second), " there, ", name_of(sizes),
                  " in this model");
  }
  for (const auto& [name, sizes] : manifest.parameters)
    TESSERA_CHECK(model.contains(name), name, " ", name_of(sizes), " is there but not in this model");
}

void read_tensors(const std::string& checkpoint, const CheckpointManifest& manifest,
                  const CheckpointTensors& tensors) {
  CheckpointReader reader(checkpoint, manifest);
  for (size_t i = 0; i < tensors.pieces.size(); ++i) {
    const ShardPiece& piece = tensors.pieces[i];
    for_each_tensor(tensors, i, [&](const char* group, const Tensor& tensor) {
      fill_in_parts(tensor, [&](int64_t at, std::span<float> values) {
        reader.read(group, piece.parameter->name, piece.begin + at, values);
      });
    });
  }
}

/// The files are shared out, so that each is read for its checksum once.
void check_files(const std::string& checkpoint, const CheckpointManifest& manifest,
                 Communicator& communicator) {
  agree_on(checkpoint, communicator, [&] {
    for (size_t i = static_cast<size_t>(communicator.rank()); i < manifest.files.size();
         i += static_cast<size_t>(communicator.size()))
      check_file(checkpoint, manifest.files[i]);
  });
}

/// The step of a folder's name, if it is that of a checkpoint.
std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kCheckpointStep)) return std::nullopt;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, failure] =
      std::from_chars(name.data() + std::string_view(kCheckpointStep).size(), end, step);
  return failure == std::errc() && stop == end && step >= 0 ? std::optional(step) : std::nullopt;
}

}  // namespace

void load_checkpoint(const std::string& checkpoint, const CheckpointTensors& tensors,
                     Communicator& communicator) {
  CheckpointManifest manifest;
  agree_on(checkpoint, communicator, [&] {
    manifest = parse_manifest(checkpoint);
    TESSERA_CHECK(manifest.has_moments || !tensors.optimizer, "it has no state of the optimizer");
  });
  const std::map<std::string, Sizes> model = gather_parameters(tensors, communicator);
  agree_on(checkpoint, communicator, [&] { check_parameters(manifest, model); });
  check_files(checkpoint, manifest, communicator);
  agree_on(checkpoint, communicator, [&] { read_tensors(checkpoint, manifest, tensors); });
}

void verify_checkpoint(const std::string& checkpoint, Communicator& communicator) {
  CheckpointManifest manifest;
  agree_on(checkpoint, communicator, [&] { manifest = parse_manifest(checkpoint); });
  check_files(checkpoint, manifest, communicator);
}

Json read_checkpoint_manifest(const std::string& checkpoint) {
  const std::string path = manifest_path(checkpoint);
  TESSERA_CHECK(fs::exists(path), "checkpoint ", checkpoint, ": there is no manifest.json");
  Json json = read_json(path);
  TESSERA_CHECK(json.is_object() && json.value("format", Json()) == kCheckpointFormat, path,
                ": is not the manifest of a checkpoint");
  const Json version = json.value("version", Json());
  TESSERA_CHECK(version == kCheckpointVersion, path, ": format version must be ", kCheckpointVersion,
                ", got ", version);
  TESSERA_CHECK(json.contains("step") && json["step"].is_number_unsigned(), path,
                ": step must be a whole number, got ", json.value("step", Json()));
  TESSERA_CHECK(json.contains("state"), path, ": state is missing");
  return json;
}

std::vector<std::string> damaged_files(const std::string& checkpoint) {
  std::vector<std::string> damages;
  for (const CheckpointFile& file : parse_manifest(checkpoint).files) {
    try {
      check_file(checkpoint, file);
    } catch (const Error& error) {
      damages.push_back(error.what());
    }
  }
  return damages;
}

std::vector<std::string> checkpoints_in(const std::string& directory) {
  std::map<int64_t, std::string> by_step;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, missing)) {
    const std::string path = entry.path().string();
    const std::optional<int64_t> step = step_of(entry.path().filename().string());
    if (step && fs::exists(manifest_path(path))) by_step[*step] = path;
  }
  std::vector<std::string> paths;
  for (auto& [step, path] : by_step) paths.push_back(std::move(path));
  return paths;
}

std::optional<std::string> latest_checkpoint(const std::string& directory) {
  const std::vector<std::string> all = checkpoints_in(directory);
  return all.empty() ? std::nullopt : std::optional(all.back());
}

}  // namespace tessera
