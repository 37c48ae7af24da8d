#pragma once
// From logits to the next token.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace tessera {

/// Ranges [first, last) of ids that may come next; none overlap.
using AllowedIds = std::vector<std::pair<int32_t, int32_t>>;

struct SamplingOptions {
  double temperature = 0.7;  ///< logits are divided by it; 0 takes the largest
  double top_p = 0.9;        ///< the likeliest tokens that make up this much probability, at least one
  double repetition_penalty =
      1.2;  ///< of ids in seen: positive logits are divided, negative ones multiplied by it
};

/// One id of allowed.  logits [vocab]; uniform in (0, 1) decides.  Among equals the lower id comes first.
/// Throws Error when allowed is empty, or a logit in it is NaN.
/// Source: Keskar et al., CTRL, 2019 (repetition penalty); Holtzman et al., The curious case of neural text degeneration,
/// 2020 (top-p).
int32_t sample(std::span<const float> logits, const AllowedIds& allowed, std::span<const int32_t> seen,
               const SamplingOptions& options, double uniform);

/// Logits with more weight on what the context says, by three contexts: all of it, its images alone, nothing.
///
///   none + images (only_images - none) + text (full - only_images)
///
/// Source: Brooks et al., InstructPix2Pix, 2023, eq. 3; Chameleon's released decoder.
std::vector<float> guided(std::span<const float> full, std::span<const float> only_images,
                          std::span<const float> none, double text, double images);

}  // namespace tessera
