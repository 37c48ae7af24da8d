#pragma once
// Checkpoints: a folder DIR/step_00000200 with one HDF5 file per rank that wrote it and manifest.json.  Everything is stored
// under logical names and index ranges, so that any layout of ranks reads what any other wrote:
//
//   rank_00003.h5    /parameters/NAME, /first/NAME, /second/NAME: f32 [n], attribute "begin": first element of the range
//   manifest.json    format, step, files with checksums (XXH3) and ranges, parameters with shapes, and the caller's state
//
// A checkpoint is written to a temporary folder and published by rename (parallel/checkpoint_saver.h): what a reader sees is
// complete.  docs/checkpoints.md shows how other programs read them.

#include <optional>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "parallel/sharded.h"
#include "runtime/json.h"

namespace tessera {

/// What a checkpoint holds of the model.
struct CheckpointTensors {
  std::vector<ShardPiece> pieces;
  const AdamW* optimizer = nullptr;  ///< its ranges are the pieces, in order; null: values alone
};

/// Reads this rank's ranges from the checkpoint folder, collectively, whoever wrote it.  Throws AgreedError naming
/// checkpoint, parameter and shapes when a parameter is missing, surplus or of another shape, or a file is damaged.
void load_checkpoint(const std::string& checkpoint, const CheckpointTensors& tensors,
                     Communicator& communicator);

/// Throws AgreedError naming the file when the manifest or a file of the checkpoint is missing or damaged.  Collective: each
/// file is read once.
void verify_checkpoint(const std::string& checkpoint, Communicator& communicator);

/// The manifest (for its step and state).  Throws Error when it is missing, of another format version or without them.
Json read_checkpoint_manifest(const std::string& checkpoint);

/// One sentence for each file of the checkpoint that is missing, of another size, or not of its checksum.  Throws Error when
/// the manifest cannot be read.
std::vector<std::string> damaged_files(const std::string& checkpoint);

/// The complete checkpoints in a run folder, in order of their steps; none when there is no such folder.
std::vector<std::string> checkpoints_in(const std::string& directory);
/// The one of the highest step, if any.
std::optional<std::string> latest_checkpoint(const std::string& directory);

}  // namespace tessera
