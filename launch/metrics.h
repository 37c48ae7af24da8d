#pragma once
// What a run measures of itself: one JSON object per step in DIRECTORY/metrics.jsonl, and the same scalars as
// TensorBoard events beside it.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/append_file.h"
#include "launch/tensorboard.h"
#include "runtime/json.h"

namespace tessera {

/// One step over all ranks.  Losses are nats per scored token.
struct StepMetrics {
  int64_t step = 0;  ///< index of the step: the first of a run is 0
  double loss = 0;
  std::optional<double> loss_text, loss_image;  ///< none: the step has no targets of the modality
  double learning_rate = 0;
  double gradient_norm = 0;  ///< before clipping
  double clip_scale = 1;     ///< what the gradient was multiplied by
  bool skipped = false;      ///< the guard kept the update from the parameters
  int64_t tokens = 0;        ///< of the step
  double seconds = 0;
  int64_t flops = 0;       ///< of the step, forward and backward, from the ledger
  double output_norm = 0;  ///< of the last block, root mean square over rows: growth warns of divergence
  double matrix_peak_fraction = 0;  ///< flops / seconds over the measured peak of all ranks (matrix_peak.h)
  int64_t memory_bytes = 0;         ///< most that tensors of one rank held at once
  std::map<std::string, double> expert_load;  ///< "block/expert label" -> share of the group's tokens it took
  std::map<std::string, double> unrouted;     ///< "block/group" -> share of tokens that no expert took
  std::map<std::string, double> fan_out =
      {};  ///< "block/modality/N" -> share of tokens that N routed experts took; 3 = 3 or more
  std::map<std::string, double> gate = {};   ///< "block/group" -> mean gate of the slots
  std::map<std::string, double> depth = {};  ///< "block/modality" -> share of tokens that entered the block
  std::map<std::string, double> router_gradient =
      {};  ///< "block" or "block/depth" -> norm of the router's gradient
  std::optional<double> prediction_loss =
      {};  ///< of auxiliary routers: nats per token and expert, summed over routers
  std::map<std::string, double> prediction_accuracy = {}, prediction_precision = {},
                                prediction_recall = {};  ///< "block/group" or "block/depth", where defined
  /// Of the checkpoint that was published since the last line: the time that training waited for it, and the whole time.
  std::optional<double> save_held_seconds = {}, save_seconds = {};
  std::map<std::string, double> passes;  ///< kind of units, or "kind/source" -> times that all were seen

  double tokens_per_second() const { return static_cast<double>(tokens) / seconds; }
  double flops_per_second() const { return static_cast<double>(flops) / seconds; }
};

/// One line of metrics.jsonl, without its end.  Numbers that are not finite become null, and their keys
/// are listed under "nonfinite" ("expert_load/0/text/1" for members of an object); an absent loss is null
/// and not listed.
std::string to_line(const StepMetrics& metrics);

/// A line of metrics.jsonl: its text without the end, and what it says; has a whole-numbered "step".
struct MetricsLine {
  std::string text;
  Json json;
};
/// A last line that was cut off is left out.  Throws Error when the file cannot be read, or another line is
/// not an object with a step.
std::vector<MetricsLine> read_metrics(const std::string& path);

/// The path of DIRECTORY/metrics.jsonl, missing or cut back to the steps before first_step; the rewrite is atomic.  Throws
/// Error when the folder is missing or not writable, or a line other than the last is not an object with a step.
std::string continued_metrics(const std::string& directory, int64_t first_step);

/// What a progress line says of a step: losses and tokens per second.
std::string headline(const StepMetrics& metrics);

/// One process of a run has one.
class Metrics {
 public:
  /// Continues DIRECTORY/metrics.jsonl, or starts it, for a run whose next step is first_step: lines of
  /// later steps are dropped first, and so is a last line that was cut off.  The rewrite is atomic.
  /// Throws Error when the folder is missing or not writable, or a line other than the last is not an
  /// object with a step.
  Metrics(const std::string& directory, int64_t first_step);

  /// The line is in the system's hands when it returns.  Throws Error when it cannot be written.
  void write(const StepMetrics& metrics);

 private:
  AppendFile lines_;
  TensorBoard events_;
};

}  // namespace tessera
