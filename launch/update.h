#pragma once
// What stands between a gradient and the next values, for every training.

#include <vector>

#include "autograd/optimizer.h"
#include "parallel/sharded.h"

namespace tessera {

/// One range for each piece, in order.
AdamW make_optimizer(const std::vector<ShardPiece>& pieces, const AdamWConfig& config);

/// What the gradient is multiplied by, so that its norm is at most clip.  Throws AgreedError naming the step when the norm
/// is not finite.
float clip_scale(double norm, double clip, int64_t step);

}  // namespace tessera
