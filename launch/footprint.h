#pragma once
// What a layout costs each rank, in closed form: the bytes that it sends in a step and the bytes of state that it holds.
// docs/parallelism.md derives the formulas; `make scaling` prints them beside what was measured.

#include <vector>

#include "layers/model_config.h"
#include "parallel/counted.h"
#include "parallel/mesh.h"
#include "parallel/shards.h"

namespace tessera {

struct Layout {
  int ranks = 1;
  MeshConfig mesh{};
  ShardOptions sharding{};
  bool recompute_blocks = false;
};

/// Bytes that a rank sends to others in one step.
struct StepTraffic {
  int64_t gather = 0;     ///< of parameters
  int64_t gradients = 0;  ///< inside a replica
  int64_t replicas = 0;   ///< between replicas
  int64_t rows = 0;       ///< to experts and back
  friend bool operator==(const StepTraffic&, const StepTraffic&) = default;
};

/// What was sent for these purposes; agreements, norms and statistics are none of them.
StepTraffic by_kind(const Traffic& sent);

/// leaves: the tokens of each micro-batch of the step.  Throws Error for models with mixture-of-depths and dealt experts, where
/// the rows that travel depend on what routers choose.
StepTraffic step_traffic(const ModelConfig& model, const Layout& layout, int rank,
                         const std::vector<PoolTokens>& leaves);

/// Bytes of parameters, gradients and both moments that a rank holds between steps, without padding.
int64_t state_bytes(const ModelConfig& model, const Layout& layout, int rank);

}  // namespace tessera
