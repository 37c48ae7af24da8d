#pragma once
// The tensors of a checkpoint as its files name them.

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint.h"
#include "parallel/checkpoint_files.h"

namespace tessera {

/// What one rank tells the others of its part of the model.
struct CheckpointPart {
  CheckpointFile file{};
  std::map<std::string, Sizes> parameters{};

  auto fields() { return std::tuple{Field{"file", file}, Field{"parameters", parameters}}; }
};

/// Those of all ranks, in order.  Collective.
std::vector<CheckpointPart> gather_parts(CheckpointPart& mine, Communicator& communicator);

/// Shapes of the parameters of which this rank holds a range.
std::map<std::string, Sizes> parameters_of(const CheckpointTensors& tensors);

/// The same over all ranks.  Collective.
std::map<std::string, Sizes> gather_parameters(const CheckpointTensors& tensors, Communicator& communicator);

/// Fills a tensor f32 [n], wherever it lives, from read(first element, values to overwrite), 16 MiB at once.
template <class Read>
void fill_in_parts(const Tensor& tensor, const Read& read) {
  constexpr int64_t kPart = 1 << 22;
  std::vector<float> values;
  for (int64_t at = 0; at < tensor.count(); at += kPart) {
    const int64_t count = std::min(kPart, tensor.count() - at);
    values.resize(static_cast<size_t>(count));
    read(at, std::span(values));
    tensor.slice(at, {count}).assign(std::span<const float>(values));
  }
}

/// Calls visit(group in the file, tensor) for everything that is stored of piece i.
template <class Visit>
void for_each_tensor(const CheckpointTensors& tensors, size_t i, const Visit& visit) {
  visit("/parameters/", tensors.pieces[i].value);
  if (!tensors.optimizer) return;
  visit("/first/", tensors.optimizer->first(i));
  visit("/second/", tensors.optimizer->second(i));
}

}  // namespace tessera
