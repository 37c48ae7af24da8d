#pragma once
// Which rows the experts of a router take.

#include "layers/model_config.h"
#include "layers/rows.h"

namespace tessera {

/// The experts of one group: columns [column, column + experts) of the scores.
struct RouterColumns {
  int64_t experts = 1;
  int64_t column = 0;
  double capacity = 1;              ///< slots per candidate, over all experts of the group
  std::vector<std::string> labels;  ///< of the experts, as thresholds know them
};

/// Rows by expert, end to end, in increasing order each: i32 [sum of counts].
struct RowChoice {
  Tensor index;
  std::vector<int64_t> counts;  ///< by expert
};

/// Every expert takes its expert_slots() highest scores of each pool of candidates; routing_pool says what a pool is.
/// Not causal: whether a row is taken depends on rows after it.  Source: kernels/expert_choice.h.
RowChoice choose_by_rank(const Var& scores, const Candidates& candidates, const RouterColumns& columns,
                         const std::string& routing_pool);

/// Every expert takes the candidates with scores above its threshold.  Waits for the stream: the host counts them.
RowChoice choose_by_threshold(const Var& scores, const Candidates& candidates, const RouterColumns& columns,
                              const Thresholds& thresholds);

/// By threshold when rows has thresholds, else by rank.
RowChoice choose_rows(const Var& scores, const Candidates& candidates, const RouterColumns& columns,
                      const std::string& routing_pool, const Rows& rows);

}  // namespace tessera
