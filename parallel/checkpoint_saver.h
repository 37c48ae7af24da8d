#pragma once
// Saving checkpoints (parallel/checkpoint.h) while training goes on.
//
//   rank's thread   copies values into a bounded staging buffer      polls at the ends of steps
//   writer thread             writes, syncs and checksums its file
//   all ranks                                                        agree that all files are whole; rank 0 publishes
//
// Collectives are issued by the rank's thread alone.  What is saved is the values at start(), whatever follows.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/checkpoint.h"
#include "parallel/checkpoint_tensors.h"

namespace tessera {

/// What a save that is published took.
struct SaveTimes {
  double held_seconds =
      0;               ///< the caller waited: copying, what the staging buffer had no room for, publishing
  double seconds = 0;  ///< from start() to publication
};

class CheckpointSaver {
 public:
  /// Collective.  A range that several ranks hold is written by the first of them.  staging_bytes: host memory for values that
  /// wait to be written; where it is smaller than a rank's values, start() waits for what does not fit.
  CheckpointSaver(std::string directory, CheckpointTensors tensors, int64_t staging_bytes,
                  Communicator& communicator);
  ~CheckpointSaver();  ///< gives up a save that is not published
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Collective.  Begins to write DIRECTORY/step_N; state goes into the manifest (rank 0's counts).  None may be under way.
  /// Like poll() and finish() it throws AgreedError when a rank fails (full disk, permissions), naming file and rank; earlier
  /// checkpoints stay then, and nothing is left behind.
  void start(int64_t step, Json state);
  bool under_way() const { return saving_ != nullptr; }

  /// Collective.  Publishes the save under way when every rank has written its part: then it returns what that took.
  std::optional<SaveTimes> poll();
  /// The same, waiting for the writers; nothing when no save is under way.
  std::optional<SaveTimes> finish();

 private:
  struct Saving;
  void stage();
  SaveTimes publish();
  void write_manifest_of(const std::vector<CheckpointPart>& parts) const;
  void give_up();

  std::string directory_;
  CheckpointTensors tensors_;
  std::vector<size_t> written_;  ///< pieces that this rank writes
  int64_t staging_bytes_;
  Communicator& communicator_;
  std::unique_ptr<Saving> saving_;
};

/// Writes DIRECTORY/step_N and returns when it is published.  Collective; throws as CheckpointSaver does.
void save_checkpoint(const std::string& directory, int64_t step, const CheckpointTensors& tensors,
                     const Json& state, Communicator& communicator);

}  // namespace tessera
