#pragma once
// Which rows the experts of a router take.

#include "layers/auxiliary_router.h"
#include "layers/model_config.h"
#include "layers/rows.h"

namespace tessera {

/// The experts of one group: columns [column, column + experts) of the scores.
struct RouterColumns {
  int64_t experts = 1;
  int64_t column = 0;
  double capacity = 1;                   ///< slots per candidate, over all experts of the group
  std::string name = {};                 ///< of the group, as predictions know it: "3/image", "3/depth"
  std::vector<std::string> labels = {};  ///< of the experts, as thresholds know them
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

/// Every expert takes the candidates that an auxiliary router gives a positive logit: f32 [candidates, experts].  Waits for the
/// stream.
RowChoice choose_by_prediction(const Tensor& logits, const Candidates& candidates);

/// A router and what it reads.
struct RouterInputs {
  Var x;                                 ///< [rows, width]
  Var scores;                            ///< f32 [rows, columns]
  AuxiliaryRouter* auxiliary = nullptr;  ///< null in models without
};
/// As rows says: by prediction, by threshold, else by rank.  In the last two cases rows.record gets what the auxiliary router
/// would have said.
RowChoice choose_rows(const RouterInputs& inputs, const Candidates& candidates, const RouterColumns& columns,
                      const std::string& routing_pool, const Rows& rows);

}  // namespace tessera
