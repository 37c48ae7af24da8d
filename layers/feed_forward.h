#pragma once
// Feed-forward networks: one for all tokens, or experts.

#include <optional>
#include <string>
#include <vector>

#include "layers/auxiliary_router.h"
#include "layers/expert_networks.h"

namespace tessera {

/// SwiGLU network with its norm and residual: x [rows, width] -> [rows, width].
struct Mlp {
  Parameter norm, gate, up, down;
  ModelConfig config;

  explicit Mlp(const ModelConfig& config);
  Var operator()(const Var& x, const Rows& rows);
  auto fields() {
    return std::tuple{Field{"norm", norm}, Field{"gate", gate}, Field{"up", up}, Field{"down", down}};
  }
};

/// The rows among which the experts of a group choose.
const Candidates& candidates_of(const ExpertGroup& group, const Rows& rows);

/// Experts in modality groups with expert choice, with norm and residual.  Norm and routers are one shard group, the experts of
/// each modality group another.
///
///   y[r] = sum over experts e that chose row r, in expert order, of g[r, e] swiglu_e(x[r]),  g = sigmoid(x
///   router^T)
///
/// A group with one expert takes all its tokens with gate 1 and has no row in the router.  With config.router_noise the
/// scores of training are sigmoid(x router^T + logistic noise) (eq. 5).  With config.gate_order "norm_then_gate" the sum is
/// of g[r, e] RMSNorm(swiglu_e(x[r])) and joins the residual as it is.
/// Source: MoMa (arXiv 2407.21770), 2.2 and eq. 1.
struct MixtureOfExperts {
  Parameter norm;
  std::optional<Parameter> router;               ///< [routed experts, width]
  std::vector<AuxiliaryRouter> auxiliary;        ///< by routed group, with config.auxiliary_routers
  std::vector<Sharded<ExpertNetworks>> experts;  ///< by group
  ModelConfig config;
  std::vector<ExpertGroup> groups;
  int64_t layer;                    ///< index of the block
  std::vector<std::string> labels;  ///< of the experts of all groups, e.g. "image/2"

  MixtureOfExperts(const ModelConfig& config, std::vector<ExpertGroup> groups, int64_t layer);
  Var operator()(const Var& x, const Rows& rows);
  auto fields() {
    return std::tuple{Field{"norm", norm}, Field{"router", router}, Field{"auxiliary", auxiliary},
                      Field{"experts", experts}};
  }

 private:
  Var mix(const Var& x, const Rows& rows);
  LayerRouting route(const Var& x, const Rows& rows);
  Var noisy(const Var& logits, const Rows& rows) const;
  Routing choose(const Var& x, const Var& scores, const Rows& rows);
  Var gates(const LayerRouting& chosen) const;
  std::vector<SlotCounts> slots_of_peers(const SlotCounts& own, const Rows& rows) const;
};

}  // namespace tessera
