#pragma once
// The folder that a training leaves its checkpoints in.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "parallel/checkpoint_saver.h"
#include "runtime/json.h"

namespace tessera {

struct ResumeOptions {
  bool resume = true;  ///< false: a folder with a checkpoint is refused
  bool sets_damaged_aside =
      false;  ///< a damaged checkpoint is renamed, and the one before it taken; else it is refused
};
/// Collective.  Makes the folder; the checkpoint to go on from, if there is one.  Throws AgreedError when the folder cannot be
/// used, or options refuse what it holds.
std::optional<std::string> open_run_folder(const std::string& directory, const ResumeOptions& options,
                                           Communicator& world);

/// A warning for each key of the flat settings that differs from then to now and matters for results.
void warn_of_other_settings(const std::string& checkpoint, const Json& then, const Json& now);
/// A warning when the instruction-set level differs.
void warn_of_other_isa(const std::string& checkpoint, const std::string& then, const std::string& now);

/// How a training goes on after a step.
struct StepEnd {
  bool go_on = true;
  int exit_code = 0;  ///< kExitRequeue when a signal ended the run early
};

struct SaveOptions {
  int64_t save_every = 1;   ///< steps
  int64_t keep = 1;         ///< checkpoints
  int64_t save_buffer = 1;  ///< MiB, see CheckpointSaver
};

/// The checkpoints that a training leaves.
class RunCheckpoints {
 public:
  /// Collective.
  RunCheckpoints(std::string directory, const SaveOptions& options, const CheckpointTensors& tensors,
                 Communicator& world);

  /// Collective.  done: steps that are done of last.  Begins a save when it is time to, at the end, and when a signal asks to
  /// stop; publishes a save whose files are written, and before the run ends every save.  state: what goes into the manifest.
  StepEnd end_of_step(int64_t done, int64_t last, const std::function<Json()>& state);
  /// Collective: publishes the save under way, for a run that ends otherwise.
  void finish() { published(saver_.finish()); }

  /// What the last save took, once.
  std::optional<SaveTimes> take_times() { return std::exchange(times_, std::nullopt); }

 private:
  void published(const std::optional<SaveTimes>& times);

  std::string directory_;
  SaveOptions options_;
  Communicator& world_;
  CheckpointSaver saver_;
  std::optional<SaveTimes> times_;
};

}  // namespace tessera
