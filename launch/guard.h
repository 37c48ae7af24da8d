#pragma once
// Steps that must not reach the parameters: losses or gradients that are not finite, and losses that jump.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/fields.h"

namespace tessera {

struct GuardConfig {
  std::string action = "stop";
  int64_t max_skips = 10;
  double spike = 0;
  int64_t window = 100;

  auto fields() {
    return std::tuple{
        Field{"action", action,
              "one of stop|skip: what to do with a step whose loss or gradient is not finite, or whose loss "
              "spikes; either way out/anomaly_STEP.json tells, and its update is not applied"},
        Field{"max_skips", max_skips, "skipped steps in a row after which the run stops", 1, 1e9},
        Field{"spike", spike,
              "standard deviations above the mean of the last losses that make a loss a spike; 0 = none is",
              0, 1e6},
        Field{"window", window,
              "steps whose losses a spike is measured by; before there are as many, none is", 2, 1e5}};
  }
};

/// What the guard remembers of the steps before; part of checkpoints, so that a resumed run decides alike.
struct GuardState {
  std::vector<double> losses;  ///< of the last applied steps, at most window; none while spike is 0
  int64_t skips = 0;           ///< in a row, up to now

  auto fields() { return std::tuple{Field{"losses", losses}, Field{"skips", skips}}; }
};

/// A function of losses and norms that all ranks have, so all ranks decide alike.
class Guard {
 public:
  explicit Guard(const GuardConfig& config) : config_(config) {}

  const GuardState& state() const { return state_; }
  void restore(GuardState state) { state_ = std::move(state); }

  /// Why the update of a step must not be applied ("the loss is nan"); nothing when it may.
  std::optional<std::string> objection(double loss, double gradient_norm) const;
  /// What came of a step.
  void applied(double loss);
  void skipped() { ++state_.skips; }
  /// Whether the run ends with a step that is objected to.
  bool stops() const { return config_.action == "stop" || state_.skips >= config_.max_skips; }

 private:
  GuardConfig config_;
  GuardState state_;
};

}  // namespace tessera
