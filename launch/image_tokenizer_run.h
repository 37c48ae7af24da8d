#pragma once
// The training of an image tokenizer on disk and on the screen, laid out as that of a model (launch/run.h).  A line of
// metrics.jsonl has
//   step, loss, learning_rate, gradient_norm, clip_scale, images, seconds, images_per_second, memory_bytes
//   mse               mean squared error of the step's pictures, in squared grey levels (0 to 255)
//   psnr              10 log10(255^2 / mse), in dB; null where mse is 0
//   codes_used        share of the codebook that the step's patches used
//   code_perplexity   e to the entropy of the step's codes
//   codes_revived     codes that started anew after the step

#include <memory>

#include "launch/append_file.h"
#include "launch/code_usage.h"
#include "launch/engines.h"
#include "launch/image_tokenizer_config.h"
#include "launch/progress.h"
#include "launch/run_folder.h"
#include "launch/tensorboard.h"

namespace tessera {

/// What a step measured over all micro-batches.
struct ImageTokenizerStep {
  double loss = 0;
  double mse = 0;
  CodeUsage usage;
  int64_t revived = 0;
  double learning_rate = 0, gradient_norm = 0, clip_scale = 1;
};

double psnr_of(double mse);

class ImageTokenizerRun {
 public:
  /// Collective.  Makes the folder and reads the latest checkpoint into tensors, if there is one.  Throws AgreedError when the
  /// folder cannot be used or the checkpoint does not fit.  pictures: fingerprint of what is learned from.
  ImageTokenizerRun(const ImageTokenizerConfig& config, const CheckpointTensors& tensors,
                    const std::string& pictures, Engines& engines, Communicator& world);

  int64_t first_step() const { return first_step_; }
  int64_t last_step() const { return last_step_; }
  /// Patches by code since the last step that revived codes; kept in checkpoints.
  std::vector<int64_t>& window() { return state_.window; }

  /// Collective: writes the metrics, begins a save when it is time to, and tells whether to go on.
  bool finish_step(int64_t step, const ImageTokenizerStep& measured);
  int exit_code() const { return exit_code_; }

 private:
  void restore();
  void write_metrics(int64_t step, const ImageTokenizerStep& measured);

  ImageTokenizerState state_;
  CheckpointTensors tensors_;
  Engines& engines_;
  Communicator& world_;
  RunCheckpoints checkpoints_;
  int64_t first_step_ = 0, last_step_ = 0, step_began_ns_ = 0;
  int exit_code_ = 0;
  std::unique_ptr<AppendFile> lines_;    ///< rank 0
  std::unique_ptr<TensorBoard> events_;  ///< rank 0
  std::unique_ptr<Progress> progress_;   ///< rank 0
};

}  // namespace tessera
