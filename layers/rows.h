#pragma once
// What a model reads: one micro-batch as rows (positions of packed documents, end to end), with everything
// that is known about them on the host before any layer runs.

#include <map>
#include <optional>
#include <vector>

#include "autograd/functions.h"
#include "layers/model_config.h"
#include "layers/thresholds.h"

namespace tessera {

/// Rows that may be routed to one group of experts.
struct Candidates {
  Tensor index;                ///< i32 [n], increasing rows
  std::vector<int64_t> units;  ///< positions in index where each unit (sequence) begins, and n at the end
};

/// What a router chose: slots, the scores they came from and the gates of the slots (empty Vars without a router).
struct LayerRouting {
  Routing routing;
  Var scores;  ///< f32 [rows, routed experts]
  Var gates;   ///< f32 [slots]
};

/// What an auxiliary router says of its candidates, and what was so.
struct Prediction {
  Var logits;    ///< f32 [candidates, experts]
  Tensor taken;  ///< u8 [candidates, experts]: 1 where the expert took the candidate
};

/// Names the noise of one micro-batch: other triples give independent noise.
struct RouterNoise {
  uint64_t seed = 0;
  int64_t step = 0, leaf = 0;
};

/// What runs again in backward instead of keeping what it saved.
struct Recompute {
  bool blocks = false;     ///< whole blocks
  bool attention = false;  ///< attention, from its norm to its residual
  bool experts = false;    ///< the networks of experts
};

class KeyValueCache;
struct Routings;

struct Rows {
  Tensor tokens;     ///< i32 [rows]
  Tensor positions;  ///< i32 [rows]; restart at each document unless documents attend to each other
  std::vector<int64_t> segments;        ///< row offsets of what attends to itself
  std::vector<Candidates> of_modality;  ///< text, image; padding is in none
  Candidates all;                       ///< every row but padding

  /// f32 [rows, head_dim]: rope_table of positions, which the model makes for its blocks.
  Tensor rotations = {};
  std::optional<RouterNoise> noise = {};   ///< for configs with router_noise; none outside of training
  const Thresholds* thresholds = nullptr;  ///< routers take the scores above these instead of the highest
  bool by_prediction = false;              ///< auxiliary routers choose instead; the model must have them
  Routings* record = nullptr;              ///< where routers leave what they chose
  const Routings* replay = nullptr;        ///< choices to use instead; must have every router
  /// Attention is to all rows that sequences have had, and leaves these there; segments must then go on where sequences are.
  KeyValueCache* cache = nullptr;
  std::vector<int64_t> sequences = {};  ///< with a cache: whose rows each segment are, each at most once
  Recompute recompute = {};
  /// With an expert axis, by its ranks: the tokens of their micro-batches.  Empty where they are not known.
  std::vector<PoolTokens> of_peers = {};
  Tensor* output = nullptr;  ///< where the model leaves the output of its last block, [rows, width]
};

/// The rows that enter a layer with mixture-of-depths: one slot each.
struct DepthRouting {
  LayerRouting chosen;
  Rows rows;  ///< those rows alone, numbered from 0, with their original positions
};

/// What the routers of a model chose, by block.
struct Routings {
  std::map<int64_t, LayerRouting> experts;
  std::map<int64_t, DepthRouting> depths;
  /// Of models with auxiliary routers, where routers chose by rank or threshold, by router: "3/image", "3/depth".
  std::map<std::string, Prediction> predictions;
};

/// The rows with rotations that slots hold, in increasing order and each once, as rows of their own; segments left without
/// rows are gone.  Slots without storage name no rows: then they are taken evenly from all of them.
Rows select_rows(const Rows& rows, const Routing& slots);

}  // namespace tessera
