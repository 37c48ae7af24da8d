#pragma once
// A model small enough to differentiate by differences, on one rank, and rows for it.

#include "layers/transformer.h"
#include "runtime/cpu_engine.h"
#include "tests/support/close.h"
#include "tests/support/transformer_reference.h"

namespace tessera {

/// vocab 23, width 16, 2 layers of 2 heads, hidden 24; matrices of standard deviation 1 / 4, so that every branch
/// matters as much as the residual.
ModelConfig tiny_config(std::vector<std::string> feed_forward);

/// Units of documents, each ending in padding; ids 4 to 11 are image, others text.
struct TinyRows {
  Rows rows;
  Tensor targets;
  reference::ModelInputs host;
};
enum class Modalities : uint8_t { both, text, image };
/// documents: lengths by unit; two rows of padding follow the last document of each unit.
TinyRows tiny_rows(const std::vector<std::vector<int64_t>>& documents, Modalities modalities, Stream stream);

/// What one forward and backward of a whole step on one rank gave.
struct StepResult {
  double total = 0;
  std::vector<float> nll;
  reference::Parameters values, gradients;  ///< as the f32 shards hold them
  reference::ModelRouting routing;
};
/// Every parameter, norms and biases too, gets values of its own; where compute is bf16 they are bf16 numbers.
/// replay: a routing to use instead of the model's choice.
StepResult run_step(const ModelConfig& config, const TinyRows& rows, DType compute, Stream stream,
                    const reference::ModelRouting* replay = nullptr);

/// Rounded operations from tokens to the loss and back: the longest sums of every function on the way, with backward counted
/// as twice forward; and the tensors that are stored on the way, as many back as forth.  document: rows of the longest one.
Roundings model_roundings(const ModelConfig& config, int64_t document);

}  // namespace tessera
