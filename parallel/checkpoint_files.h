#pragma once
// What lies in a checkpoint folder, for those who write and read it (parallel/checkpoint.h has the layout).

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/json.h"

namespace tessera {

inline constexpr const char* kCheckpointFormat = "tessera checkpoint";
inline constexpr int64_t kCheckpointVersion = 1;
inline constexpr const char* kCheckpointStep = "step_";  ///< before the number in a folder's name

/// Elements [begin, begin + count) of a flattened parameter.
struct CheckpointRange {
  std::string parameter;
  int64_t begin = 0, count = 0;

  auto fields() {
    return std::tuple{Field{"parameter", parameter}, Field{"begin", begin, "", 0},
                      Field{"count", count, "", 1}};
  }
};

/// A file that one rank wrote.
struct CheckpointFile {
  std::string name;
  int64_t bytes = 0;
  std::string xxh3{};  ///< 64 bits in hexadecimal digits
  std::vector<CheckpointRange> ranges{};

  auto fields() {
    return std::tuple{Field{"name", name}, Field{"bytes", bytes}, Field{"xxh3", xxh3},
                      Field{"ranges", ranges}};
  }
};

using Sizes = std::vector<int64_t>;

/// manifest.json without the caller's state.
struct CheckpointManifest {
  std::string format = "none";
  int64_t version = 0;
  int64_t step = 0;
  bool has_moments = false;
  std::map<std::string, Sizes> parameters{};
  std::vector<CheckpointFile> files{};

  auto fields() {
    return std::tuple{
        Field{"format", format},           Field{"version", version},       Field{"step", step},
        Field{"has_moments", has_moments}, Field{"parameters", parameters}, Field{"files", files}};
  }
};

std::string manifest_path(const std::string& checkpoint);
/// Throws Error naming file and key when the manifest is missing or malformed.
CheckpointManifest parse_manifest(const std::string& checkpoint);
/// Writes and syncs manifest.json.
void write_manifest(const std::string& checkpoint, CheckpointManifest manifest, const Json& state);

/// "rank_00003.h5"
std::string rank_file_name(int rank);
/// XXH3 of a file's bytes.  Throws Error when it cannot be read.
std::string checksum_of_file(const std::string& path);
/// Throws Error naming the file when it is missing, of another size, or not of its checksum.
void check_file(const std::string& checkpoint, const CheckpointFile& file);

/// Where a checkpoint of one step is made, and where it goes.  For one process at a time.
class CheckpointPlaces {
 public:
  CheckpointPlaces(std::string directory, int64_t step);

  const std::string& target() const { return target_; }  ///< DIRECTORY/step_00000200
  const std::string& making() const { return making_; }  ///< what becomes the target

  /// Makes the empty folder to write to, after sweep_checkpoints().
  void prepare() const;
  /// Makes the target what was written, replacing what is there.
  void publish() const;
  void abandon() const noexcept;

 private:
  std::string directory_, target_, making_, replaced_;
};

/// Removes what killed runs left half made or half removed, and puts back what they were about to replace.
void sweep_checkpoints(const std::string& directory);
/// Removes a checkpoint such that nobody ever sees a part of it.
void remove_checkpoint(const std::string& checkpoint);
/// Renames it so that it counts no longer, but stays: DIRECTORY/damaged_step_00000200 (or ..._2, ..._3).  Returns the path.
std::string set_checkpoint_aside(const std::string& checkpoint);

/// agree(), with the checkpoint in front of the message.
void agree_on(const std::string& checkpoint, Communicator& communicator, const std::function<void()>& action);

}  // namespace tessera
