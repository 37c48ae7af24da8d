#include "launch/run.h"

#include <algorithm>
#include <cstdio>

#include "launch/matrix_peak.h"
#include "launch/process.h"
#include "launch/run_state.h"
#include "parallel/safetensors.h"
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
      recorder_(recorder),
      checkpoints_(config_.out, {config_.save_every, config_.keep, config_.save_buffer}, tensors, world),
      guard_(config_.guard) {
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
  const std::optional<std::string> latest =
      open_run_folder(config_.out, {config_.resume, config_.damaged_checkpoint == "set_aside"}, world_);
  if (!latest) {
    if (!config_.init_from.empty()) load_safetensors(config_.init_from, tensors_.pieces, world_);
    return;
  }
  SavedRun saved;
  agree(world_, [&] {
    saved = read_saved_run(*latest);
    require_vocabulary(loader_.dataset().index(), config_.data, saved.state.data.vocabulary());
  });
  load_checkpoint(*latest, tensors_, world_);
  first_step_ = saved.step;
  thresholds_ = saved.state.thresholds;
  guard_.restore(saved.state.guard);
  if (world_.rank() != 0) return;
  warn_of_changes(*latest, saved.state,
                  run_state(config_, loader_.dataset().index(), engines_.isa(), thresholds_, guard_.state()));
  log_line(str("resumed from ", *latest));
}

bool Run::admits(int64_t step, const StepSummary& summary, const Update& update, const AnomalyParts& parts) {
  objection_ = guard_.objection(summary.loss, update.gradient_norm);
  if (!objection_) {
    guard_.applied(summary.loss);
    return true;
  }
  guard_.skipped();
  const char* action = guard_.stops() ? "stopped" : "skipped";
  write_anomaly(config_.out, step, *objection_, action, summary, update.gradient_norm, parts, world_);
  if (world_.rank() == 0) {
    progress_->clear();
    log_line(str(guard_.stops() ? "error: step " : "warning: step ", step, ": ", *objection_, "; ", action,
                 " before its update, ", anomaly_path(config_.out, step), " has the details"));
  }
  return false;
}

bool Run::finish_step(int64_t step, const StepSummary& summary, const Update& update) {
  if (!objection_) thresholds_.update(summary.cutoff, config_.threshold_decay);
  agree(world_, [&] {
    if (world_.rank() == 0) write_metrics(step, summary, update);
  });
  if (objection_ && guard_.stops()) {
    checkpoints_.finish();  // a save under way is of an earlier step
    exit_code_ = kExitAnomaly;
    return false;
  }
  recorder_.phase(FlightPhase::save);
  const TraceRange range(*trace_of(engines_.stream()), "checkpoint");
  const StepEnd end = checkpoints_.end_of_step(step + 1, last_step_, [&] {
    if (progress_) progress_->clear();
    RunState state =
        run_state(config_, loader_.dataset().index(), engines_.isa(), thresholds_, guard_.state());
    return to_json(state);
  });
  exit_code_ = end.exit_code;
  step_began_ns_ = Trace::now_ns();
  return end.go_on;
}

void Run::write_metrics(int64_t step, const StepSummary& summary, const Update& update) {
  const TraceRange range(*trace_of(engines_.stream()), "write_metrics");
  const double seconds = static_cast<double>(Trace::now_ns() - step_began_ns_) * 1e-9;
  StepMetrics metrics{.step = step,
                      .loss = summary.loss,
                      .loss_text = summary.loss_of[static_cast<size_t>(Modality::text)],
                      .loss_image = summary.loss_of[static_cast<size_t>(Modality::image)],
                      .learning_rate = update.learning_rate,
                      .gradient_norm = update.gradient_norm,
                      .clip_scale = update.clip_scale,
                      .skipped = objection_.has_value(),
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
  if (const std::optional<SaveTimes> times = checkpoints_.take_times()) {
    metrics.save_held_seconds = times->held_seconds;
    metrics.save_seconds = times->seconds;
  }
  metrics_->write(metrics);
  progress_->update(step + 1, headline(metrics));
}

}  // namespace tessera
