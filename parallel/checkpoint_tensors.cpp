#include "parallel/checkpoint_tensors.h"

namespace tessera {
namespace {

Sizes sizes_of(const Shape& shape) {
  Sizes sizes;
  for (int dim = 0; dim < shape.rank(); ++dim) sizes.push_back(shape[dim]);
  return sizes;
}

}  // namespace

std::vector<CheckpointPart> gather_parts(CheckpointPart& mine, Communicator& communicator) {
  std::vector<CheckpointPart> parts;
  for (const std::string& text : all_gather_strings(communicator, to_json(mine).dump()))
    from_json(Json::parse(text), "part of a checkpoint", parts.emplace_back());
  return parts;
}

std::map<std::string, Sizes> parameters_of(const CheckpointTensors& tensors) {
  std::map<std::string, Sizes> parameters;
  for (const ShardPiece& piece : tensors.pieces)
    parameters[piece.parameter->name] = sizes_of(piece.parameter->shape);
  return parameters;
}

std::map<std::string, Sizes> gather_parameters(const CheckpointTensors& tensors, Communicator& communicator) {
  CheckpointPart part{.parameters = parameters_of(tensors)};
  std::map<std::string, Sizes> model;
  for (CheckpointPart& other : gather_parts(part, communicator)) model.merge(other.parameters);
  return model;
}

}  // namespace tessera
