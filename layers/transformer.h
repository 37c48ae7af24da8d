#pragma once
// The decoder: embedding, blocks of attention and feed-forward, head.  Source: Chameleon (arXiv 2405.09818),
// 2; MoMa (arXiv 2407.21770), 2.

#include <variant>

#include "autograd/at_once.h"
#include "autograd/recompute.h"
#include "layers/attention.h"
#include "layers/depth_router.h"
#include "layers/feed_forward.h"
#include "layers/layer.h"

namespace tessera {

struct Embedding {
  Parameter weight;  ///< [vocab, width]

  explicit Embedding(const ModelConfig& config) : weight({config.vocab, config.width}) {}
  Var operator()(const Rows& rows) { return embedding(rows.tokens, weight); }
  auto fields() { return std::tuple{Field{"weight", weight}}; }
};

struct Head {
  Parameter norm, weight;  ///< [width], [vocab, width]
  float epsilon;

  explicit Head(const ModelConfig& config)
      : norm({config.width}, Init::ones), weight({config.vocab, config.width}), epsilon(config.epsilon) {}
  /// Logits f32 [rows, vocab].
  Var operator()(const Var& x) { return matmul_f32(rms_norm(x, norm, epsilon), weight); }
  Loss loss(const Var& x, const Tensor& targets, float scale, float z_loss) {
    return linear_cross_entropy(rms_norm(x, norm, epsilon), weight, targets, scale, z_loss);
  }
  auto fields() { return std::tuple{Field{"norm", norm}, Field{"weight", weight}}; }
};

struct Block {
  std::optional<Sharded<DepthRouter>> depth;  ///< with mixture-of-depths
  Sharded<Attention> attention;
  std::variant<Sharded<Mlp>, Sharded<MixtureOfExperts>> feed_forward;

  Block(const ModelConfig& config, int64_t layer);
  Var operator()(const Var& x, const Rows& rows);
  auto fields() {
    return std::tuple{Field{"depth", depth}, Field{"attention", attention},
                      Field{"feed_forward", feed_forward}};
  }

 private:
  Var whole(const Var& x, const Rows& rows) {
    const Var mixed = attention(x, rows);
    return std::visit([&](auto& layer) { return layer(mixed, rows); }, feed_forward);
  }
};

struct Transformer {
  ModelConfig config;
  Sharded<Embedding> embedding;
  std::vector<Block> blocks;
  Sharded<Head> head;

  explicit Transformer(
      const ModelConfig& model);  ///< shapes alone; throws Error when the config does not fit
  /// The rows as blocks read them.
  Rows with_rotations(Rows rows) const {
    rows.rotations = rope_table(rows.positions, config.head_dim(), config.rope_base);
    return rows;
  }
  /// What the last block leaves: [rows, width].
  Var hidden(const Rows& given) {
    const Rows rows = with_rotations(given);
    Var x = embedding(rows);
    for (Block& block : blocks)
      x = segment_of(x, rows.recompute.blocks, [&block, rows](const Var& in) { return block(in, rows); });
    if (rows.output) *rows.output = x.value();
    return x;
  }
  /// Next-token loss of what hidden() left, without the logits of all rows (autograd/functions.h, linear_cross_entropy).  With a
  /// tape the head's gradients are formed and sent here, and backward must start at the total.
  Loss loss(const Var& x, const Tensor& targets, float scale, float z_loss);
  auto fields() {
    return std::tuple{Field{"embedding", embedding}, Field{"blocks", blocks}, Field{"head", head}};
  }
};

}  // namespace tessera
