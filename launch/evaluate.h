#pragma once
// Held-out loss beside what counting achieves.

#include <string>

#include "parallel/communicator.h"

namespace tessera {

struct EvaluateOptions {
  std::string run;    ///< run folder; its latest checkpoint is evaluated, evaluation.json is written into it
  std::string data;   ///< empty: what the model was trained on
  int64_t units = 0;  ///< held-out units of each kind, 0 = all
  int64_t threads = 0;
  std::string device = "cpu";  ///< or "cuda"
};

/// Nats per scored target on the validation split: overall, by modality (image patches of one colour apart), of text after
/// an image and of images after text; collective.  Models whose routers choose among the tokens of a micro-batch see the
/// future through that choice: the result then says "routing": "batch", and "causal" holds the same figures with routing by
/// the "thresholds" of training and by "auxiliary_routers", where the model has them, with the difference in bits per token, the
/// leak; and how well auxiliary routers predict each router's choice among a micro-batch.  Rank 0 writes RUN/evaluation.json and
/// prints a table.  Returns the exit code.
int run_evaluate(const EvaluateOptions& options, Communicator& world);

}  // namespace tessera
