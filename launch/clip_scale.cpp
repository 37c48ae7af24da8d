#include "launch/clip_scale.h"

#include <cmath>

#include "parallel/agree.h"

namespace tessera {

float clip_scale(double norm, double clip, int64_t step) {
  if (!std::isfinite(norm))  // the same on every rank
    throw AgreedError(
        str("step ", step, ": the gradient norm is ", norm, "; the last checkpoint is from before it"));
  return norm > clip ? static_cast<float>(clip / norm) : 1.0f;
}

}  // namespace tessera
