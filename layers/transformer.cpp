#include "layers/transformer.h"

#include <utility>

namespace tessera {
namespace {

std::variant<Sharded<Mlp>, Sharded<MixtureOfExperts>> make_feed_forward(const ModelConfig& config,
                                                                        int64_t layer) {
  std::vector<ExpertGroup> groups = parse_feed_forward(config.feed_forward_of(layer));
  if (groups.empty()) return Sharded<Mlp>{Mlp(config)};
  return Sharded<MixtureOfExperts>{MixtureOfExperts(config, std::move(groups), layer)};
}

const ModelConfig& checked_config(const ModelConfig& config) {
  check(config);
  return config;
}

}  // namespace

Block::Block(const ModelConfig& config, int64_t layer)
    : attention{Attention(config, layer)}, feed_forward(make_feed_forward(config, layer)) {
  if (config.routes_depth(layer)) depth.emplace(DepthRouter(config, layer));
}

Var Block::operator()(const Var& x, const Rows& rows) {
  if (!depth) return whole(x, rows);
  const DepthRouting entering = (*depth)(x, rows);
  const LayerRouting& chosen = entering.chosen;
  const Var before = gather(x, chosen.routing);
  return add(x, combine(subtract(whole(before, entering.rows), before), chosen.gates, chosen.routing));
}

Loss Transformer::loss(const Var& x, const Tensor& targets, float scale, float z_loss) {
  const auto of_head = [&](const Var& in) { return head.layer.loss(in, targets, scale, z_loss); };
  if (Tape::active()) return head.group.at_once([&] { return at_once(x, of_head); });
  const ShardGroup::Use use(head.group);
  return of_head(x);
}

Transformer::Transformer(const ModelConfig& model)
    : config(checked_config(model)), embedding{Embedding(config)}, head{Head(config)} {
  for (int64_t layer = 0; layer < config.layers; ++layer) blocks.emplace_back(config, layer);
}

}  // namespace tessera
