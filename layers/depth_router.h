#pragma once
// Mixture-of-depths: a router in front of a block, which only some of the rows enter.
//
//   g = sigmoid(x router^T),   x'[r] = x[r] + g[r] (Block(x[chosen])[r] - x[r])   for chosen rows,   x' = x for the others
//
// The rows with the highest g are chosen from the whole pool, text and image together, before the experts choose.
// Chosen rows attend to chosen rows alone, at their original positions.
// Source: Raposo et al., Mixture-of-depths (arXiv 2404.02258); MoMa (arXiv 2407.21770), 2.3: sigmoid, alternate layers.

#include <optional>

#include "layers/auxiliary_router.h"
#include "layers/model_config.h"
#include "layers/rows.h"
#include "parallel/sharded.h"

namespace tessera {

struct DepthRouter {
  Parameter router;                          ///< [1, width]
  std::optional<AuxiliaryRouter> auxiliary;  ///< with config.auxiliary_routers
  ModelConfig config;
  int64_t layer;  ///< index of the block

  DepthRouter(const ModelConfig& model, int64_t index)
      : router({1, model.width}), config(model), layer(index) {
    if (config.auxiliary_routers) auxiliary.emplace(config, 1);
  }
  /// Which rows enter, and with what gates.  Waits for the stream: the rows' segments must be known on the host.
  DepthRouting operator()(const Var& x, const Rows& rows);
  auto fields() { return std::tuple{Field{"router", router}, Field{"auxiliary", auxiliary}}; }
};

}  // namespace tessera
