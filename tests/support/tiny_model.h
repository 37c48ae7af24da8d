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
  std::vector<int64_t> units;  ///< row offsets
  Tensor targets;
  reference::ModelInputs host;
};
enum class Modalities : uint8_t { both, text, image };
/// documents: lengths by unit; rows of padding follow the last document of each unit.
TinyRows tiny_rows(const std::vector<std::vector<int64_t>>& documents, Modalities modalities, Stream stream,
                   int64_t padding = 2);
/// The same with other tokens in the same places.
TinyRows with_tokens(TinyRows tiny, std::vector<int32_t> tokens);

/// What one forward and backward of a whole step on one rank gave.
struct StepResult {
  double total = 0;
  std::vector<float> nll;
  reference::Parameters values, gradients;  ///< as the f32 shards hold them
  reference::ModelRouting routing;
};
/// Every parameter, norms and biases too, gets values of its own; where compute is bf16 they are bf16 numbers.
struct StepOptions {
  const reference::ModelRouting* replay = nullptr;  ///< a routing to use instead of the model's choice
  bool trains_auxiliary_routers = false;            ///< the loss is theirs, and the others are constant
  bool tied_experts = false;                        ///< all experts of a layer have the values of the first
};

/// Calls use with that model, on one rank.
void with_tiny_model(const ModelConfig& config, DType compute, Stream stream, const StepOptions& options,
                     const std::function<void(Transformer& model, Shards& shards)>& use);
StepResult run_step(const ModelConfig& config, const TinyRows& rows, DType compute, Stream stream,
                    StepOptions options = {});
/// Logits [rows, vocab] of the same model.
std::vector<float> tiny_logits(const ModelConfig& config, const TinyRows& rows, DType compute, Stream stream,
                               StepOptions options = {});

/// Rounded operations from tokens to the loss and back: the longest sums of every function on the way, with backward counted
/// as twice forward; and the tensors that are stored on the way, as many back as forth.  document: rows of the longest one.
Roundings model_roundings(const ModelConfig& config, int64_t document);

}  // namespace tessera
