#pragma once
// What a model reads: one micro-batch as rows (positions of packed documents, end to end), with everything
// that is known about them on the host before any layer runs.

#include <map>
#include <vector>

#include "autograd/functions.h"

namespace tessera {

/// Rows that may be routed to one group of experts.
struct Candidates {
  Tensor index;                ///< i32 [n], increasing rows
  std::vector<int64_t> units;  ///< positions in index where each unit (sequence) begins, and n at the end
};

/// The routing of one layer: its slots, and the scores it came from (an empty Var without a router).
struct LayerRouting {
  Routing routing;
  Var scores;
};

struct Rows {
  Tensor tokens;     ///< i32 [rows]
  Tensor positions;  ///< i32 [rows]; restart at each document unless documents attend to each other
  std::vector<int64_t> segments;        ///< row offsets of what attends to itself
  std::vector<Candidates> of_modality;  ///< text, image; padding is in none
  Candidates all;                       ///< every row but padding

  using Routings = std::map<int64_t, LayerRouting>;  ///< by block
  Routings* record = nullptr;                        ///< where expert layers leave what they chose
  const Routings* replay = nullptr;                  ///< choices to use instead; must have every expert layer
};

}  // namespace tessera
