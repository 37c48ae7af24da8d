#include "layers/two_sided_attention.h"

#include "layers/residual.h"

namespace tessera {

PatchRows::PatchRows(int64_t images, int64_t patches, Stream stream) {
  std::vector<int32_t> place, reverse;
  segments.push_back(0);
  for (int64_t image = 0; image < images; ++image) {
    for (int64_t patch = 0; patch < patches; ++patch) {
      place.push_back(static_cast<int32_t>(patch));
      reverse.push_back(static_cast<int32_t>((image + 1) * patches - 1 - patch));
    }
    segments.push_back((image + 1) * patches);
  }
  const int64_t count = images * patches;
  places = Tensor::from(place, {count}, stream);
  reversed = make_routing(Tensor::from(reverse, {count}, stream), {0, count}, count);
}

DirectedHeads::DirectedHeads(int64_t width)
    : wq({width / 2, width}), wk({width / 2, width}), wv({width / 2, width}), wo({width, width / 2}) {}

Var DirectedHeads::operator()(const Var& x, int64_t heads, const PatchRows& rows) {
  const int64_t count = x.shape()[0], inner = wq.shape[0];
  const auto by_head = [&](Parameter& weight) {
    return reshape(matmul(x, weight), {count, heads, inner / heads});
  };
  const Var y = attention(by_head(wq), by_head(wk), by_head(wv), rows.segments);
  return matmul(reshape(y, {count, inner}), wo);
}

TwoSidedAttention::TwoSidedAttention(const ModelConfig& model)
    : norm({model.width}, Init::ones), onward(model.width), backward(model.width), config(model) {}

Var TwoSidedAttention::operator()(const Var& x, const PatchRows& rows) {
  return residual(x, norm, config, [&](const Var& in) {
    const Var seen_before = onward(in, config.heads / 2, rows);
    const Var seen_after = backward(gather(in, rows.reversed), config.heads / 2, rows);
    return add(seen_before, gather(seen_after, rows.reversed));
  });
}

}  // namespace tessera
