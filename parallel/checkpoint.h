#pragma once
// Checkpoints: a folder DIR/step_00000200 with one HDF5 file per rank that wrote it and manifest.json.  Everything is stored
// under logical names and index ranges, so that any number of ranks reads what any other number wrote:
//
//   rank_00003.h5    /parameters/NAME, /first/NAME, /second/NAME: f32 [n], attribute "begin": first element of the range
//   manifest.json    format, step, files with checksums (XXH3) and ranges, parameters with shapes, and the caller's state
//
// A checkpoint is written to a temporary folder and published by rename: what a reader sees is complete.

#include <optional>

#include "autograd/optimizer.h"
#include "parallel/sharded.h"
#include "runtime/json.h"

namespace tessera {

/// What a checkpoint holds of the model.
struct CheckpointTensors {
  std::vector<ShardPiece> pieces;
  const AdamW* optimizer = nullptr;  ///< its ranges are the pieces, in order; null: values alone are read
};

/// Writes DIR/step_N, collectively.  state is stored in the manifest by rank 0.  Throws AgreedError when a rank fails (full
/// disk, permissions), naming file and rank; earlier checkpoints stay and nothing is left behind.
void save_checkpoint(const std::string& directory, int64_t step, const CheckpointTensors& tensors,
                     const Json& state, Communicator& communicator);

/// Reads this rank's ranges from the checkpoint folder, collectively, whoever wrote it.  Throws AgreedError naming
/// checkpoint, parameter and shapes when a parameter is missing, surplus or of another shape, or a file is damaged.
void load_checkpoint(const std::string& checkpoint, const CheckpointTensors& tensors,
                     Communicator& communicator);

/// The manifest (for its step and state).  Throws Error when it is missing, of another format version or without them.
Json read_checkpoint_manifest(const std::string& checkpoint);

/// One sentence for each file of the checkpoint that is missing, of another size, or not of its checksum.  Throws Error when
/// the manifest cannot be read.
std::vector<std::string> damaged_files(const std::string& checkpoint);

/// The complete checkpoint of the highest step in a run folder, if any.
std::optional<std::string> latest_checkpoint(const std::string& directory);

}  // namespace tessera
