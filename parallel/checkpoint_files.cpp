#include "parallel/checkpoint_files.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "parallel/agree.h"
#include "parallel/checkpoint.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr const char *kMaking = ".making", *kReplaced = ".replaced", *kRemoved = ".removed";

std::string padded(int64_t number, size_t digits) {
  const std::string text = std::to_string(number);
  return std::string(digits - std::min(digits, text.size()), '0') + text;
}

void sync(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  TESSERA_CHECK(descriptor >= 0, path, ": cannot be opened: ", std::strerror(errno));
  const int failure = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  TESSERA_CHECK(failure == 0, path, ": cannot be brought to the disk: ", std::strerror(failure));
}

/// The path of a checkpoint with its name hidden and marked.
std::string hidden(const std::string& checkpoint, const char* mark) {
  const fs::path path(checkpoint);
  return (path.parent_path() / str(".", path.filename().string(), mark)).string();
}

}  // namespace

std::string manifest_path(const std::string& checkpoint) { return checkpoint + "/manifest.json"; }

CheckpointManifest parse_manifest(const std::string& checkpoint) {
  Json json = read_checkpoint_manifest(checkpoint);
  json.erase("state");
  CheckpointManifest manifest;
  from_json(json, manifest_path(checkpoint), manifest);
  return manifest;
}

void write_manifest(const std::string& checkpoint, CheckpointManifest manifest, const Json& state) {
  Json json = to_json(manifest);
  json["state"] = state;
  write_json(manifest_path(checkpoint), json);
  sync(manifest_path(checkpoint));
}

std::string rank_file_name(int rank) { return str("rank_", padded(rank, 5), ".h5"); }

std::string checksum_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_64bits_reset(state.get());
  std::vector<char> buffer(1 << 20);
  while (in.read(buffer.data(), std::ssize(buffer)) || in.gcount() > 0)
    XXH3_64bits_update(state.get(), buffer.data(), static_cast<size_t>(in.gcount()));
  TESSERA_CHECK(in.eof(), path, ": cannot be read");
  std::ostringstream digits;
  digits << std::hex << XXH3_64bits_digest(state.get());
  return digits.str();
}

void check_file(const std::string& checkpoint, const CheckpointFile& file) {
  const std::string path = checkpoint + "/" + file.name;
  TESSERA_CHECK(fs::exists(path), path, " is missing");
  const auto bytes = static_cast<int64_t>(fs::file_size(path));
  TESSERA_CHECK(bytes == file.bytes, path, " should have ", file.bytes, " bytes, got ", bytes);
  const std::string sum = checksum_of_file(path);
  TESSERA_CHECK(sum == file.xxh3, path, " is damaged: its XXH3 checksum should be ", file.xxh3, ", got ",
                sum);
}

CheckpointPlaces::CheckpointPlaces(std::string directory, int64_t step)
    : directory_(std::move(directory)),
      target_(str(directory_, "/", kCheckpointStep, padded(step, 8))),
      making_(hidden(target_, kMaking)),
      replaced_(hidden(target_, kReplaced)) {}

void CheckpointPlaces::prepare() const {
  fs::create_directories(directory_);
  sweep_checkpoints(directory_);
  fs::create_directory(making_);
}

void CheckpointPlaces::publish() const {
  sync(making_);
  if (fs::exists(target_)) fs::rename(target_, replaced_);  // a folder cannot be renamed over another
  fs::rename(making_, target_);
  sync(directory_);
  fs::remove_all(replaced_);
}

void CheckpointPlaces::abandon() const noexcept {
  std::error_code ignored;  // the failure that led here is what gets reported
  fs::remove_all(making_, ignored);
  if (fs::exists(replaced_, ignored)) fs::rename(replaced_, target_, ignored);
}

void sweep_checkpoints(const std::string& directory) {
  std::vector<fs::path> left;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory))
    if (entry.path().filename().string().starts_with(str(".", kCheckpointStep))) left.push_back(entry.path());
  for (const fs::path& path : left) {
    const fs::path target = path.parent_path() / path.stem().string().substr(1);
    if (path.extension() == kReplaced && !fs::exists(target))
      fs::rename(path, target);  // killed between the two renames of publish()
    else
      fs::remove_all(path);
  }
}

void remove_checkpoint(const std::string& checkpoint) {
  const std::string removed = hidden(checkpoint, kRemoved);
  fs::rename(checkpoint, removed);
  fs::remove_all(removed);
}

std::string set_checkpoint_aside(const std::string& checkpoint) {
  const fs::path path(checkpoint);
  const std::string first = (path.parent_path() / ("damaged_" + path.filename().string())).string();
  std::string aside = first;
  for (int copy = 2; fs::exists(aside); ++copy) aside = str(first, "_", copy);
  fs::rename(checkpoint, aside);
  sync(path.parent_path());
  return aside;
}

void agree_on(const std::string& checkpoint, Communicator& communicator,
              const std::function<void()>& action) {
  agree(communicator, [&] {
    try {
      action();
    } catch (const std::exception& error) {
      throw Error(str("checkpoint ", checkpoint, ": ", error.what()));
    }
  });
}

}  // namespace tessera
