#pragma once
// Clipping of the gradient, for every training.

#include <cstdint>

namespace tessera {

/// What the gradient is multiplied by, so that its norm is at most clip.  Throws AgreedError naming the step when the norm
/// is not finite.
float clip_scale(double norm, double clip, int64_t step);

}  // namespace tessera
