#include "launch/image_tokenizer_run.h"

#include <algorithm>
#include <cmath>

#include "launch/config.h"
#include "launch/format.h"
#include "launch/metrics.h"
#include "launch/process.h"
#include "runtime/log.h"
#include "runtime/stream.h"

namespace tessera {

double psnr_of(double mse) { return 10 * std::log10(255.0 * 255.0 / mse); }

ImageTokenizerRun::ImageTokenizerRun(const ImageTokenizerConfig& config, const CheckpointTensors& tensors,
                                     const std::string& pictures, Engines& engines, Communicator& world)
    : state_{config, name_of(engines.isa()), pictures,
             std::vector<int64_t>(static_cast<size_t>(config.model.codes), 0)},
      tensors_(tensors),
      engines_(engines),
      world_(world),
      checkpoints_(config.out, {config.save_every, config.keep, config.save_buffer}, tensors, world) {
  restore();
  last_step_ = config.stop_at > 0 ? std::min(config.stop_at, config.steps) : config.steps;
  agree(world_, [&] {
    if (world_.rank() != 0) return;
    lines_ = std::make_unique<AppendFile>(continued_metrics(config.out, first_step_));
    events_ = std::make_unique<TensorBoard>(config.out, first_step_);
    write_json(config.out + "/config.json", to_json(state_.config));
    progress_ = std::make_unique<Progress>("train", last_step_, std::min(first_step_, last_step_));
  });
  catch_stop_signals();
  step_began_ns_ = Trace::now_ns();
}

void ImageTokenizerRun::restore() {
  const ImageTokenizerConfig& config = state_.config;
  const std::optional<std::string> latest =
      open_run_folder(config.out, {config.resume, config.damaged_checkpoint == "set_aside"}, world_);
  if (!latest) return;
  SavedImageTokenizer saved;
  agree(world_, [&] { saved = read_saved_image_tokenizer(*latest); });
  load_checkpoint(*latest, tensors_, world_);
  first_step_ = saved.step;
  state_.window = saved.state.window;
  if (world_.rank() != 0) return;
  warn_of_other_settings(*latest, flat_settings(to_json(saved.state.config)),
                         flat_settings(to_json(state_.config)));
  warn_of_other_isa(*latest, saved.state.isa, state_.isa);
  if (saved.state.pictures != state_.pictures)
    log_line(str("warning: ", *latest, " was made with other pictures; their order starts anew"));
  log_line(str("resumed from ", *latest));
}

bool ImageTokenizerRun::finish_step(int64_t step, const ImageTokenizerStep& measured) {
  agree(world_, [&] {
    if (world_.rank() == 0) write_metrics(step, measured);
  });
  const StepEnd end = checkpoints_.end_of_step(step + 1, last_step_, [&] {
    if (progress_) progress_->clear();
    return to_checkpoint_state(state_);
  });
  exit_code_ = end.exit_code;
  step_began_ns_ = Trace::now_ns();
  return end.go_on;
}

void ImageTokenizerRun::write_metrics(int64_t step, const ImageTokenizerStep& measured) {
  const double seconds = static_cast<double>(Trace::now_ns() - step_began_ns_) * 1e-9;
  const auto images = static_cast<double>(state_.config.micro_batches * state_.config.images);
  const std::vector<std::pair<std::string, double>> numbers{
      {"loss", measured.loss},
      {"mse", measured.mse},
      {"psnr", psnr_of(measured.mse)},
      {"codes_used", measured.usage.used},
      {"code_perplexity", measured.usage.perplexity},
      {"codes_revived", static_cast<double>(measured.revived)},
      {"learning_rate", measured.learning_rate},
      {"gradient_norm", measured.gradient_norm},
      {"clip_scale", measured.clip_scale},
      {"images", images},
      {"seconds", seconds},
      {"images_per_second", images / seconds},
      {"memory_bytes", static_cast<double>(memory_statistics(engines_.stream()).peak_bytes)}};
  Json line{{"step", step}};
  for (const auto& [key, value] : numbers) line[key] = std::isfinite(value) ? Json(value) : Json();
  lines_->append(line.dump() + '\n');
  events_->scalars(step, numbers);
  progress_->update(
      step + 1, str("mse ", format_fixed(measured.mse, 1), "  psnr ", format_fixed(psnr_of(measured.mse), 2),
                    " dB  codes ", format_percent(measured.usage.used), "  ", format_count(images / seconds),
                    " images/s"));
}

}  // namespace tessera
