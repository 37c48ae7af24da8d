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

namespace {

/// Every expert takes the candidates that is_above(candidate number, row, expert) says.
template <class IsAbove>
RowChoice choose_above(const Candidates& candidates, int64_t experts, const IsAbove& is_above) {
  const std::vector<int32_t> rows = candidates.index.to_vector<int32_t>();
  std::vector<int32_t> index;
  RowChoice choice;
  for (int64_t expert = 0; expert < experts; ++expert) {
    const auto before = std::ssize(index);
    for (size_t i = 0; i < rows.size(); ++i)
      if (is_above(static_cast<int64_t>(i), rows[i], expert)) index.push_back(rows[i]);
    choice.counts.push_back(std::ssize(index) - before);
  }
  choice.index = Tensor::from(index, {std::ssize(index)}, candidates.index.stream());
  return choice;
}

/// u8 [candidates, experts].
Tensor membership(const RowChoice& chosen, const Candidates& candidates, int64_t rows) {
  const Stream stream = candidates.index.stream();
  if (stream.device.backend == Backend::meta)
    return Tensor::empty({candidates.index.count(), std::ssize(chosen.counts)}, DType::u8, stream);
  std::vector<int64_t> places(static_cast<size_t>(rows), -1);
  int64_t place = 0;
  for (int32_t row : candidates.index.to_vector<int32_t>()) places[static_cast<size_t>(row)] = place++;
  const auto experts = std::ssize(chosen.counts);
  std::vector<uint8_t> taken(static_cast<size_t>(place * experts), 0);
  const std::vector<int32_t> index = chosen.index.to_vector<int32_t>();
  size_t slot = 0;
  for (int64_t expert = 0; expert < experts; ++expert)
    for (int64_t i = 0; i < chosen.counts[static_cast<size_t>(expert)]; ++i, ++slot)
      taken[static_cast<size_t>(places[static_cast<size_t>(index[slot])] * experts + expert)] = 1;
  return Tensor::from(taken, {place, experts}, stream);
}

}  // namespace

RowChoice choose_by_threshold(const Var& scores, const Candidates& candidates, const RouterColumns& columns,
                              const Thresholds& thresholds) {
  // No threshold is asked for: that of a modality that training never saw does not exist.
  if (candidates.index.count() == 0)
    return {candidates.index, std::vector<int64_t>(static_cast<size_t>(columns.experts), 0)};
  std::vector<float> bounds;
  for (const std::string& label : columns.labels) bounds.push_back(thresholds.at(label));
  const std::vector<float> values = scores.value().to_vector<float>();
  const int64_t width = scores.shape()[1];
  return choose_above(candidates, columns.experts, [&](int64_t, int32_t row, int64_t expert) {
    return values[static_cast<size_t>(row * width + columns.column + expert)] >
           bounds[static_cast<size_t>(expert)];
  });
}

RowChoice choose_by_prediction(const Tensor& logits, const Candidates& candidates) {
  const std::vector<float> values = logits.to_vector<float>();
  const int64_t experts = logits.shape()[1];
  return choose_above(candidates, experts, [&](int64_t i, int32_t, int64_t expert) {
    return values[static_cast<size_t>(i * experts + expert)] > 0;
  });
}

RowChoice choose_rows(const RouterInputs& inputs, const Candidates& candidates, const RouterColumns& columns,
                      const std::string& routing_pool, const Rows& rows) {
  const auto [x, scores, auxiliary] = inputs;
  if (rows.by_prediction) {
    TESSERA_CHECK(auxiliary, "router ", columns.name, ": the model has no auxiliary routers to choose by");
    return choose_by_prediction((*auxiliary)(x, candidates).value(), candidates);
  }
  RowChoice choice = rows.thresholds ? choose_by_threshold(scores, candidates, columns, *rows.thresholds)
                                     : choose_by_rank(scores, candidates, columns, routing_pool);
  if (auxiliary && rows.record)
    rows.record->predictions[columns.name] = {(*auxiliary)(x, candidates),
                                              membership(choice, candidates, x.shape()[0])};
  return choice;
}

}  // namespace tessera
