#include "layers/auxiliary_router.h"

#include <algorithm>

namespace tessera {

Var AuxiliaryRouter::operator()(const Var& x, const Candidates& candidates) {
  const Routing all = make_routing(candidates.index, {0, candidates.index.count()}, x.shape()[0]);
  return matmul_f32(silu(matmul(gather(x.value(), all), in)), out);
}

bool is_auxiliary(const Parameter& parameter) {
  return parameter.name.find(".auxiliary.") != std::string::npos;
}

Var prediction_loss(const Routings& routings, float scale) {
  TESSERA_CHECK(!routings.predictions.empty(), "prediction_loss: the model has no auxiliary routers");
  Var sum;
  for (const auto& [router, prediction] : routings.predictions) {
    const int64_t count = std::max<int64_t>(prediction.logits.value().count(), 1);
    const Var loss =
        binary_cross_entropy(prediction.logits, prediction.taken, scale / static_cast<float>(count));
    sum = sum.value() ? add(sum, loss) : loss;
  }
  return sum;
}

}  // namespace tessera
