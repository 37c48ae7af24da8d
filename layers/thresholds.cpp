#include "layers/thresholds.h"

#include "runtime/error.h"

namespace tessera {

void Thresholds::update(const std::map<std::string, double>& cutoffs, double decay) {
  for (const auto& [column, cutoff] : cutoffs) {
    RunningMean& running = means_[column];
    running.mean = decay * running.mean + (1 - decay) * cutoff;
    running.weight = decay * running.weight + (1 - decay);
  }
}

float Thresholds::at(const std::string& column) const {
  const auto found = means_.find(column);
  TESSERA_CHECK(found != means_.end() && found->second.weight > 0, "thresholds: router column ", column,
                " never took a token in training");
  return static_cast<float>(found->second.mean / found->second.weight);
}

}  // namespace tessera
