#pragma once
// How a branch joins the residual stream.

#include "autograd/functions.h"
#include "autograd/parameter.h"
#include "layers/model_config.h"

namespace tessera {

/// x + norm(branch(x)) or x + branch(norm(x)).  Source: Chameleon (arXiv 2405.09818), 2.3; Liu et al., Swin
/// v2, 2022.
template <class Branch>
Var residual(const Var& x, Parameter& norm, const ModelConfig& config, const Branch& branch) {
  if (config.norm == "post") return add_rms_norm(x, branch(x), norm, config.epsilon);
  return add(x, branch(rms_norm(x, norm, config.epsilon)));
}

}  // namespace tessera
