#include "launch/guard.h"

#include <cmath>

#include "runtime/error.h"

namespace tessera {

std::optional<std::string> Guard::objection(double loss, double gradient_norm) const {
  if (!std::isfinite(gradient_norm)) return str("the gradient norm is ", gradient_norm);
  if (!std::isfinite(loss)) return str("the loss is ", loss);
  if (config_.spike == 0 || std::ssize(state_.losses) < config_.window) return std::nullopt;
  const auto count = static_cast<double>(state_.losses.size());
  double mean = 0, variance = 0;
  for (double before : state_.losses) mean += before / count;
  for (double before : state_.losses) variance += (before - mean) * (before - mean) / count;
  const double most = mean + config_.spike * std::sqrt(variance);
  if (loss <= most) return std::nullopt;
  return str("the loss is ", loss, ", a spike: the last ", state_.losses.size(), " are ", mean, " +- ",
             std::sqrt(variance), ", and guard.spike allows ", most);
}

void Guard::applied(double loss) {
  state_.skips = 0;
  if (config_.spike == 0) return;
  state_.losses.push_back(loss);
  if (std::ssize(state_.losses) > config_.window) state_.losses.erase(state_.losses.begin());
}

}  // namespace tessera
