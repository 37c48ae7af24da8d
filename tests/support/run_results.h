#pragma once
// What a run left behind, to be compared bit by bit.

#include <map>
#include <string>
#include <vector>

namespace tessera {

/// Every parameter and moment of a checkpoint, put together from whoever held which range.
std::map<std::string, std::vector<float>> checkpoint_bits(const std::string& checkpoint);

/// The losses in metrics.jsonl of a run folder, in order of steps.
std::vector<double> losses(const std::string& run);

}  // namespace tessera
