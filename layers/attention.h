#pragma once
// Multi-head causal self-attention with QK-norm and rotary positions.

#include <optional>

#include "layers/model_config.h"
#include "layers/rows.h"
#include "parallel/sharded.h"

namespace tessera {

/// LayerNorm over head_dim, one weight and bias for all heads, and rotary positions.  Source: Chameleon (arXiv 2405.09818), 2.3.
struct HeadNorm {
  Parameter weight, bias;
  float epsilon;

  HeadNorm(int64_t head_dim, float eps)
      : weight({head_dim}, Init::ones), bias({head_dim}, Init::zeros), epsilon(eps) {}
  Var operator()(const Var& x, const Tensor& rotations) {
    return qk_norm(x, weight, bias, rotations, epsilon);
  }
  auto fields() { return std::tuple{Field{"weight", weight}, Field{"bias", bias}}; }
};

/// The attention branch with its norm and residual: x [rows, width] -> [rows, width].
struct Attention {
  Parameter norm, wq, wk, wv, wo;
  std::optional<HeadNorm> q_norm, k_norm;  ///< both or neither
  ModelConfig config;
  int64_t layer;  ///< index of the block

  Attention(const ModelConfig& config, int64_t layer);
  Var operator()(const Var& x, const Rows& rows);
  auto fields() {
    return std::tuple{Field{"norm", norm}, Field{"wq", wq},         Field{"wk", wk},        Field{"wv", wv},
                      Field{"wo", wo},     Field{"q_norm", q_norm}, Field{"k_norm", k_norm}};
  }

 private:
  Var attend(const Var& x, const Rows& rows);
};

}  // namespace tessera
