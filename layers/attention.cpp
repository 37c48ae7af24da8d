#include "layers/attention.h"

#include "autograd/recompute.h"
#include "layers/key_value_cache.h"
#include "layers/residual.h"

namespace tessera {

Attention::Attention(const ModelConfig& model, int64_t index)
    : norm({model.width}, Init::ones),
      wq({model.width, model.width}),
      wk({model.width, model.width}),
      wv({model.width, model.width}),
      wo({model.width, model.width}),
      config(model),
      layer(index) {
  if (!config.qk_norm) return;
  q_norm.emplace(config.head_dim(), config.epsilon);
  k_norm.emplace(config.head_dim(), config.epsilon);
}

Var Attention::operator()(const Var& x, const Rows& rows) {
  return residual(x, norm, config, [&](const Var& in) {
    return segment_of(in, rows.recompute.attention,
                      [this, rows](const Var& again) { return attend(again, rows); });
  });
}

Var Attention::attend(const Var& x, const Rows& rows) {
  const Shape flat = x.shape(), by_head{flat[0], config.heads, config.head_dim()};
  const auto placed = [&](const Var& heads, std::optional<HeadNorm>& with) {
    return with ? (*with)(heads, rows.rotations) : rope(heads, rows.rotations);
  };
  const Var q = placed(reshape(matmul(x, wq), by_head), q_norm);
  const Var k = placed(reshape(matmul(x, wk), by_head), k_norm);
  const Var v = reshape(matmul(x, wv), by_head);
  const Var y = rows.cache ? rows.cache->attend(layer, q.value(), k.value(), v.value(), rows)
                           : attention(q, k, v, rows.segments);
  return matmul(reshape(y, flat), wo);
}

}  // namespace tessera
