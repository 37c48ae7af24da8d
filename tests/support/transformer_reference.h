#pragma once
// The model of layers/transformer.h in double precision, from the same parameter values and a given routing.

#include <map>
#include <optional>
#include <string>

#include "layers/model_config.h"
#include "layers/rows.h"
#include "tests/support/reference.h"

namespace tessera::reference {

/// What layers/rows.h holds, and the loss.
struct ModelInputs {
  std::vector<int32_t> tokens, positions, targets;
  std::vector<int> modalities;  ///< by row; -1 for padding
  std::vector<int64_t> segments;
  double scale = 1, z_loss = 0;
  std::optional<RouterNoise> noise = {};
};

/// Slot s of an expert layer takes row index[s]; slots [offsets[e], offsets[e + 1]) are those of expert e.
struct ExpertSlots {
  std::vector<int32_t> index;
  std::vector<int64_t> offsets;
};

using Parameters = std::map<std::string, Values>;  ///< by name, as in checkpoints
struct ModelRouting {
  std::map<int64_t, ExpertSlots> experts;          ///< by block
  std::map<int64_t, std::vector<int32_t>> depths;  ///< by block: the rows that enter it
};

Values logits(const ModelConfig& config, const Parameters& parameters, const ModelInputs& inputs,
              const ModelRouting& routing);
/// Mean binary cross-entropy of each auxiliary router over its candidates and experts, summed.
double prediction_loss(const ModelConfig& config, const Parameters& parameters, const ModelInputs& inputs,
                       const ModelRouting& routing);
double loss(const ModelConfig& config, const Parameters& parameters, const ModelInputs& inputs,
            const ModelRouting& routing);

}  // namespace tessera::reference
