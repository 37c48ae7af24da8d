#include "launch/run.h"

#include <algorithm>
#include <cstdio>

#include "launch/matrix_peak.h"
#include "launch/process.h"
#include "launch/run_folder.h"
#include "launch/run_state.h"
#include "runtime/log.h"
#include "runtime/stream.h"

namespace tessera {
namespace {

void warn_of_changes(const std::string& checkpoint, const RunState& then, const RunState& now) {
  warn_of_other_settings(checkpoint, flat_settings(then.config), flat_settings(now.config));
  warn_of_other_isa(checkpoint, then.isa, now.isa);
  if (then.data.fingerprint != now.data.fingerprint)
    log_line(
        str("warning: ", checkpoint, " was made with another dataset; the order of samples starts anew"));
}

}  // namespace

Run::Run(Config config, const CheckpointTensors& tensors, const Loader& loader, Engines& engines,
         Communicator& world, FlightRecorder& recorder)
    : config_(std::move(config)),
      tensors_(tensors),
      loader_(loader),
      engines_(engines),
      world_(world),
      recorder_(recorder) {
  restore();
  last_step_ = config_.stop_at > 0 ? std::min(config_.stop_at, config_.steps) : config_.steps;
  const double mine[] = {measure_matrix_peak(engines.stream(), config_.compute_dtype())};
  for (double peak : all_gather_values(world, mine)) matrix_peak_ += peak;
  agree(world_, [&] {
    if (world_.rank() != 0) return;
    metrics_ = std::make_unique<Metrics>(config_.out, first_step_);
    const Json resolved = to_json(config_);
    write_json(config_.out + "/config.json", resolved);
    std::printf("config %s\n", resolved.dump().c_str());
    std::fflush(stdout);
    progress_ = std::make_unique<Progress>("train", last_step_, std::min(first_step_, last_step_));
  });
  catch_stop_signals();
  step_began_ns_ = Trace::now_ns();
}

void Run::restore() {
  const std::optional<std::string> latest = open_run_folder(config_.out, config_.resume, world_);
  if (!latest) return;
  SavedRun saved;
  agree(world_, [&] {
    saved = read_saved_run(*latest);
    require_vocabulary(loader_.dataset().index(), config_.data, saved.state.data.vocabulary());
  });
  load_checkpoint(*latest, tensors_, world_);
  first_step_ = saved.step;
  thresholds_ = saved.state.thresholds;
  if (world_.rank() != 0) return;
  warn_of_changes(*latest, saved.state,
                  run_state(config_, loader_.dataset().index(), engines_.isa(), thresholds_));
  log_line(str("resumed from ", *latest));
}

bool Run::finish_step(int64_t step, const StepSummary& summary, const Update& update) {
  thresholds_.update(summary.cutoff, config_.threshold_decay);
  agree(world_, [&] {
    if (world_.rank() == 0) write_metrics(step, summary, update);
  });
  const StepEnd end = end_of_step(step + 1, last_step_, config_.save_every, world_, [&] {
    recorder_.phase(FlightPhase::save);
    save(step + 1);
  });
  exit_code_ = end.exit_code;
  step_began_ns_ = Trace::now_ns();
  return end.go_on;
}

void Run::write_metrics(int64_t step, const StepSummary& summary, const Update& update) {
  const double seconds = static_cast<double>(Trace::now_ns() - step_began_ns_) * 1e-9;
  StepMetrics metrics{.step = step,
                      .loss = summary.loss,
                      .loss_text = summary.loss_of[static_cast<size_t>(Modality::text)],
                      .loss_image = summary.loss_of[static_cast<size_t>(Modality::image)],
                      .learning_rate = update.learning_rate,
                      .gradient_norm = update.gradient_norm,
                      .clip_scale = update.clip_scale,
                      .tokens = static_cast<int64_t>(summary.tokens),
                      .seconds = seconds,
                      .flops = static_cast<int64_t>(summary.flops),
                      .output_norm = summary.output_norm,
                      .matrix_peak_fraction = summary.flops / seconds / matrix_peak_,
                      .memory_bytes = memory_statistics(engines_.stream()).peak_bytes,
                      .expert_load = summary.expert_load,
                      .unrouted = summary.unrouted,
                      .fan_out = {},
                      .gate = summary.gate,
                      .depth = summary.depth,
                      .router_gradient = update.router_gradient_norms,
                      .passes = loader_.passes(step + 1)};
  for (const auto& [place, shares] : summary.fan_out)
    for (size_t experts = 0; experts < shares.size(); ++experts)
      metrics.fan_out[str(place, "/", experts)] = shares[experts];
  for (const auto& [router, counted] : summary.predictions) {
    if (counted.counts[PredictionCounts::kPairs] == 0) continue;
    metrics.prediction_loss = metrics.prediction_loss.value_or(0) + counted.loss();
    metrics.prediction_accuracy[router] = counted.accuracy();
    if (const auto precision = counted.precision()) metrics.prediction_precision[router] = *precision;
    if (const auto recall = counted.recall()) metrics.prediction_recall[router] = *recall;
  }
  metrics_->write(metrics);
  progress_->update(step + 1, headline(metrics));
}

void Run::save(int64_t steps_done) {
  const TraceRange range(*trace_of(engines_.stream()), "checkpoint");
  if (progress_) progress_->clear();
  RunState state = run_state(config_, loader_.dataset().index(), engines_.isa(), thresholds_);
  save_checkpoint(config_.out, steps_done, tensors_, to_json(state), world_);
  if (world_.rank() == 0) remove_old_checkpoints(config_.out, config_.keep);
}

}  // namespace tessera
