#include "layers/rows.h"

#include <span>

namespace tessera {
namespace {

Tensor at(const Tensor& values, std::span<const int32_t> numbers) {
  const std::vector<int32_t> all = values.to_vector<int32_t>();
  std::vector<int32_t> chosen;
  for (int32_t number : numbers) chosen.push_back(all[static_cast<size_t>(number)]);
  return Tensor::from(chosen, {std::ssize(chosen)}, values.stream());
}

/// places: by row, its number among the chosen ones or -1.
Candidates renumber(const Candidates& from, std::span<const int32_t> places) {
  Candidates to;
  std::vector<int32_t> index;
  const std::vector<int32_t> numbers = from.index.to_vector<int32_t>();
  size_t i = 0;
  for (int64_t unit : from.units) {
    for (; static_cast<int64_t>(i) < unit; ++i)
      if (const int32_t place = places[static_cast<size_t>(numbers[i])]; place >= 0) index.push_back(place);
    to.units.push_back(std::ssize(index));
  }
  to.index = Tensor::from(index, {std::ssize(index)}, from.index.stream());
  return to;
}

/// For tensors without storage: so many rows, taken evenly from all.
Rows select_evenly(const Rows& rows, int64_t count) {
  const Stream stream = rows.tokens.stream();
  const auto numbers = [&](int64_t n) { return Tensor::empty({n}, DType::i32, stream); };
  const auto scaled = [&](const Candidates& from) {
    Candidates to;
    for (int64_t unit : from.units) to.units.push_back(unit * count / rows.all.index.count());
    to.index = numbers(to.units.back());
    return to;
  };
  Rows chosen = rows;
  chosen.of_peers = {};
  chosen.tokens = numbers(count);
  chosen.positions = numbers(count);
  for (int64_t& segment : chosen.segments) segment = segment * count / rows.tokens.count();
  chosen.all.units.assign(rows.all.units.size(), 0);
  for (Candidates& modality : chosen.of_modality) {
    modality = scaled(modality);
    for (size_t i = 0; i < modality.units.size(); ++i) chosen.all.units[i] += modality.units[i];
  }
  chosen.all.index = numbers(chosen.all.units.back());
  return chosen;
}

Rows select_numbered(const Rows& rows, std::span<const int32_t> numbers) {
  Rows chosen = rows;
  chosen.of_peers.clear();
  chosen.tokens = at(rows.tokens, numbers);
  chosen.positions = at(rows.positions, numbers);
  std::vector<int32_t> places(static_cast<size_t>(rows.tokens.count()), -1);
  for (size_t i = 0; i < numbers.size(); ++i)
    places[static_cast<size_t>(numbers[i])] = static_cast<int32_t>(i);
  chosen.segments = {0};
  chosen.sequences.clear();
  size_t next = 0;
  for (size_t segment = 0; segment + 1 < rows.segments.size(); ++segment) {
    while (next < numbers.size() && numbers[next] < rows.segments[segment + 1]) ++next;
    if (static_cast<int64_t>(next) == chosen.segments.back()) continue;
    chosen.segments.push_back(static_cast<int64_t>(next));
    if (rows.cache) chosen.sequences.push_back(rows.sequences[segment]);
  }
  for (Candidates& modality : chosen.of_modality) modality = renumber(modality, places);
  chosen.all = renumber(rows.all, places);
  return chosen;
}

}  // namespace

Rows select_rows(const Rows& rows, const Routing& slots) {
  const Tensor& index = slots.index;
  Rows chosen = index.device().backend == Backend::meta ? select_evenly(rows, index.count())
                                                        : select_numbered(rows, index.to_vector<int32_t>());
  chosen.rotations = gather(rows.rotations, slots).value();
  return chosen;
}

}  // namespace tessera
