#pragma once
// The folder that a training leaves its checkpoints in.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "parallel/communicator.h"
#include "runtime/json.h"

namespace tessera {

/// Collective.  Makes the folder; the checkpoint to go on from, if there is one.  Throws AgreedError when the folder cannot be
/// used, or holds a checkpoint although resume is false.
std::optional<std::string> open_run_folder(const std::string& directory, bool resume, Communicator& world);

/// A warning for each key of the flat settings that differs from then to now and matters for results.
void warn_of_other_settings(const std::string& checkpoint, const Json& then, const Json& now);
/// A warning when the instruction-set level differs.
void warn_of_other_isa(const std::string& checkpoint, const std::string& then, const std::string& now);

/// Removes all checkpoints but the latest ones.
void remove_old_checkpoints(const std::string& directory, int64_t keep);

/// How a training goes on after a step.
struct StepEnd {
  bool go_on = true;
  int exit_code = 0;  ///< kExitRequeue when a signal ended the run early
};
/// Collective.  done: steps that are done of last.  Calls save when it is time to, at the end, and when a signal asks to stop.
StepEnd end_of_step(int64_t done, int64_t last, int64_t save_every, Communicator& world,
                    const std::function<void()>& save);

}  // namespace tessera
