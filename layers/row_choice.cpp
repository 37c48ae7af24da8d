#include "layers/row_choice.h"

namespace tessera {

RowChoice choose_by_rank(const Var& scores, const Candidates& candidates, const RouterColumns& columns,
                         const std::string& routing_pool) {
  const std::vector<int64_t> pools =
      routing_pool == "sequence" ? candidates.units : std::vector<int64_t>{0, candidates.index.count()};
  std::vector<int64_t> counts;
  int64_t slots = 0;
  for (size_t pool = 0; pool + 1 < pools.size(); ++pool) {
    counts.push_back(expert_slots(pools[pool + 1] - pools[pool], columns.experts, columns.capacity));
    slots += counts.back();
  }
  const Tensor chosen =
      choose_experts(scores, candidates.index, {columns.experts, columns.column, pools, counts});
  return {chosen.reshape({chosen.count()}),
          std::vector<int64_t>(static_cast<size_t>(columns.experts), slots)};
}

RowChoice choose_by_threshold(const Var& scores, const Candidates& candidates, const RouterColumns& columns,
                              const Thresholds& thresholds) {
  // No threshold is asked for: that of a modality that training never saw does not exist.
  if (candidates.index.count() == 0)
    return {candidates.index, std::vector<int64_t>(static_cast<size_t>(columns.experts), 0)};
  const std::vector<float> values = scores.value().to_vector<float>();
  const std::vector<int32_t> rows = candidates.index.to_vector<int32_t>();
  const int64_t width = scores.shape()[1];
  std::vector<int32_t> index;
  RowChoice choice;
  for (int64_t expert = 0; expert < columns.experts; ++expert) {
    const float threshold = thresholds.at(columns.labels[static_cast<size_t>(expert)]);
    const auto before = std::ssize(index);
    for (int32_t row : rows)
      if (values[static_cast<size_t>(row * width + columns.column + expert)] > threshold)
        index.push_back(row);
    choice.counts.push_back(std::ssize(index) - before);
  }
  choice.index = Tensor::from(index, {std::ssize(index)}, scores.stream());
  return choice;
}

RowChoice choose_rows(const Var& scores, const Candidates& candidates, const RouterColumns& columns,
                      const std::string& routing_pool, const Rows& rows) {
  return rows.thresholds ? choose_by_threshold(scores, candidates, columns, *rows.thresholds)
                         : choose_by_rank(scores, candidates, columns, routing_pool);
}

}  // namespace tessera
