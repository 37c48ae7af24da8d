#pragma once
// Attention among all patches of an image, made of causal attention: half of the heads read the patches in order, the other
// half in reverse order, so that between them every patch sees every other one.

#include <vector>

#include "autograd/functions.h"
#include "autograd/parameter.h"
#include "layers/model_config.h"

namespace tessera {

/// Rows of patches: images end to end, the patches of each row after row.
struct PatchRows {
  Tensor places;                  ///< i32 [rows]: number of the patch inside its image
  Routing reversed;               ///< rows of every image in reverse order; its own inverse
  std::vector<int64_t> segments;  ///< row offsets of the images

  PatchRows(int64_t images, int64_t patches, Stream stream);
};

/// The heads that read in one direction.
struct DirectedHeads {
  Parameter wq, wk, wv, wo;  ///< [width / 2, width] three times, [width, width / 2]

  explicit DirectedHeads(int64_t width);
  /// [rows, width] -> [rows, width]; a row sees itself and those before it in its image.
  Var operator()(const Var& x, int64_t heads, const PatchRows& rows);
  auto fields() { return std::tuple{Field{"wq", wq}, Field{"wk", wk}, Field{"wv", wv}, Field{"wo", wo}}; }
};

/// The attention branch with its norm and residual: x [rows, width] -> [rows, width].  Positions are not its business.
struct TwoSidedAttention {
  Parameter norm;
  DirectedHeads onward, backward;
  ModelConfig config;

  explicit TwoSidedAttention(const ModelConfig& config);  ///< config.heads must be even
  Var operator()(const Var& x, const PatchRows& rows);
  auto fields() {
    return std::tuple{Field{"norm", norm}, Field{"onward", onward}, Field{"backward", backward}};
  }
};

}  // namespace tessera
