#pragma once
// A run on disk and on the screen: its folder, where it starts, what it reports after each step and when it saves.
//
//   OUT/config.json      the resolved config, with the instruction-set level
//   OUT/metrics.jsonl    one object per step (launch/metrics.h), and TensorBoard events
//   OUT/step_00000200/   checkpoints (parallel/checkpoint.h)
//   OUT/anomaly_217.json a step whose update was not applied (launch/anomaly.h)

#include <map>
#include <memory>
#include <optional>

#include "autograd/optimizer.h"
#include "launch/anomaly.h"
#include "launch/config.h"
#include "launch/engines.h"
#include "launch/metrics.h"
#include "launch/progress.h"
#include "launch/run_folder.h"

namespace tessera {

/// What a step did besides what its statistics hold.
struct Update {
  double gradient_norm = 0;
  double clip_scale = 1;
  double learning_rate = 0;
  std::map<std::string, double> router_gradient_norms;  ///< "block" or "block/depth", before clipping
};

class Run {
 public:
  /// Collective.  Makes the folder and reads the latest checkpoint into tensors, if there is one.  Throws Error when the
  /// folder cannot be used, holds a checkpoint although config.resume is false, or the checkpoint does not fit the model
  /// or the data.
  Run(Config config, const CheckpointTensors& tensors, const Loader& loader, Engines& engines,
      Communicator& world, FlightRecorder& recorder);

  int64_t first_step() const { return first_step_; }
  /// Steps that are done when this process ends: all, or config.stop_at of them.
  int64_t last_step() const { return last_step_; }

  /// Whether the update of a step may be applied (config.guard); the same on all ranks.  If not, OUT/anomaly_STEP.json tells
  /// why.  Collective then.
  bool admits(int64_t step, const StepSummary& summary, const Update& update, const AnomalyParts& parts);

  /// Collective: writes the metrics of a step that is done, begins a save when it is time to, and tells whether to go on.
  bool finish_step(int64_t step, const StepSummary& summary, const Update& update);

  /// For main(): 0, kExitRequeue after a signal, kExitAnomaly after a step that the guard did not admit.
  int exit_code() const { return exit_code_; }

 private:
  void restore();
  void write_metrics(int64_t step, const StepSummary& summary, const Update& update);

  Config config_;
  CheckpointTensors tensors_;
  const Loader& loader_;
  Engines& engines_;
  Communicator& world_;
  FlightRecorder& recorder_;
  RunCheckpoints checkpoints_;
  int64_t first_step_ = 0, last_step_ = 0;
  Thresholds thresholds_;
  Guard guard_;
  std::optional<std::string> objection_;  ///< of the guard, to the step that is being finished
  double matrix_peak_ = 0;                ///< FLOP/s of all ranks together
  int64_t step_began_ns_ = 0;
  int exit_code_ = 0;
  std::unique_ptr<Metrics> metrics_;    ///< rank 0
  std::unique_ptr<Progress> progress_;  ///< rank 0
};

}  // namespace tessera
