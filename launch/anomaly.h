#pragma once
// What is known of a step whose update was not applied, for people who look for the cause.

#include <string>

#include "data/loader.h"
#include "launch/statistics.h"
#include "runtime/json.h"

namespace tessera {

/// A number, or where it is not finite a string: "nan", "inf".
Json json_number(double value);

/// OUT/anomaly_STEP.json
std::string anomaly_path(const std::string& out, int64_t step);

/// Where the gradients and parameters of the step come from.
struct AnomalyParts {
  Transformer& model;
  const Shards& shards;  ///< after finish_step()
  const Loader& loader;
  const StepStatistics& statistics;  ///< after total()
};

/// Collective.  Rank 0 writes
///   step, reason, action     "skipped" or "stopped"
///   loss, gradient_norm      of the step
///   ranks                    of the run
///   leaves                   by micro-batch: leaf, rank, units, loss in nats per scored target
///   gradient_norms           by parameter, in order of the model
///   nonfinite_gradients      names of parameters with such an element, in that order
///   nonfinite_parameters     the same of the values that the step began with
/// Numbers as of json_number().
void write_anomaly(const std::string& out, int64_t step, const std::string& reason, const std::string& action,
                   const StepSummary& summary, double gradient_norm, const AnomalyParts& parts,
                   Communicator& world);

/// Names of the parameters with an element that is not finite, in order of the model.  Collective.
std::vector<std::string> nonfinite_parameters(Transformer& model, const Shards& shards, Communicator& world);

/// By parameter, in order of the model.  Collective.
std::vector<std::pair<std::string, double>> gradient_norms_by_name(Transformer& model, const Shards& shards);

}  // namespace tessera
