#pragma once
// What a run left behind, to be compared bit by bit.

#include <map>
#include <string>
#include <vector>

#include "runtime/json.h"

namespace tessera {

/// Every parameter and moment of a checkpoint, put together from whoever held which range.
std::map<std::string, std::vector<float>> checkpoint_bits(const std::string& checkpoint);

/// The losses in metrics.jsonl of a run folder, in order of steps.
std::vector<double> losses(const std::string& run);

/// The lines of metrics.jsonl without what differs from one run to the next: times, and the memory of a rank.
std::vector<Json> metrics_without_times(const std::string& run);

}  // namespace tessera
