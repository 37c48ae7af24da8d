#pragma once
// A router that looks at one token at a time: it learns to say which experts (or whether a layer with mixture-of-depths) will
// take the token, which expert choice itself knows only when all tokens are there.
//
//   p = sigmoid( silu(x W_in^T) W_out^T );   a token is taken where p > 0.5; gates stay those of the main router
//
// Source: MoMa (arXiv 2407.21770), 2.4, eq. 3 and 4.

#include "autograd/parameter.h"
#include "layers/model_config.h"
#include "layers/rows.h"

namespace tessera {

struct AuxiliaryRouter {
  Parameter in, out;  ///< [width / 2, width], [experts, width / 2]

  AuxiliaryRouter(const ModelConfig& config, int64_t experts)
      : in({config.width / 2, config.width}), out({experts, config.width / 2}) {}
  /// x: what the main router reads, [rows, width].  Logits f32 [candidates, experts]; no gradient goes back to x.
  Var operator()(const Var& x, const Candidates& candidates);
  auto fields() { return std::tuple{Field{"in", in}, Field{"out", out}}; }
};

/// Whether a parameter belongs to an auxiliary router.
bool is_auxiliary(const Parameter& parameter);

/// Mean binary cross-entropy over the candidates and experts of each router, summed over routers and times scale: f32 [1].
/// Throws Error when there are no predictions.
Var prediction_loss(const Routings& routings, float scale);

}  // namespace tessera
