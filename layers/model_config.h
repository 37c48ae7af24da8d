#pragma once
// The shape of a model, and what follows from it without building one.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/fields.h"

namespace tessera {

/// Experts that choose among the tokens of some modalities.
struct ExpertGroup {
  std::string name;  ///< "text", "image" or "mixed", after "shared_" where it stands beside others
  int64_t experts = 1;
  std::vector<int> modalities;  ///< 0 text, 1 image; as many as there are: any token but padding

  bool routed() const {
    return experts > 1;
  }  ///< a single expert takes every token, without a gate (moma.md 4, row 4)
};

struct ModelConfig {
  int64_t vocab = 4096;
  int64_t width = 256;
  int64_t layers = 4;
  int64_t heads = 4;
  int64_t hidden = 0;
  std::string norm = "post";
  bool qk_norm = true;
  double rope_base = 10000;
  float epsilon = 1e-5f;
  std::vector<std::string> feed_forward{"dense"};
  std::vector<double> depth_capacity{1};
  double capacity = 1;
  std::string routing_pool = "micro_batch";
  std::string gate_order = "gate_then_norm";
  bool router_noise = false;
  bool auxiliary_routers = false;
  float deviation = 0.02f;

  auto fields() {
    return std::tuple{
        Field{"vocab", vocab, "tokens of the vocabulary; must be that of the data", 8, 1 << 24},
        Field{"width", width, "size of the residual stream", 1, 1 << 20},
        Field{"layers", layers, "transformer blocks", 1, 4096},
        Field{"heads", heads, "attention heads; width / heads must be even and whole", 1, 4096},
        Field{"hidden", hidden, "inner size of a feed-forward network or expert; 0 = floor(8 / 3 width)", 0,
              1 << 22},
        Field{"norm", norm,
              "one of post|pre: RMSNorm after each branch (Swin, Chameleon 34B) or before it (Llama)"},
        Field{"qk_norm", qk_norm, "LayerNorm over head_dim of queries and keys, before RoPE"},
        Field{"rope_base", rope_base, "base of the rotary angles", 1.0001, 1e9},
        Field{"epsilon", epsilon, "inside the norms", 1e-12, 1},
        Field{
            "feed_forward", feed_forward,
            "by layer, repeated when there are fewer entries: dense, NtMi (N text and M image experts, e.g. "
            "4t4i) or moe_Nx (one mixed pool); with +shared an expert per modality that takes all its "
            "tokens"},
        Field{"depth_capacity", depth_capacity,
              "by layer, repeated when there are fewer entries: the part of the tokens that enters the layer "
              "(mixture-of-depths), 1 = all; MoMa's is [0.25, 1]",
              1e-3, 1},
        Field{"capacity", capacity,
              "slots per token and group: an expert takes ceil(capacity tokens / experts)", 1e-3, 64},
        Field{"routing_pool", routing_pool,
              "one of micro_batch|sequence: the tokens among which an expert, or a layer, chooses"},
        Field{"gate_order", gate_order,
              "one of gate_then_norm|norm_then_gate: with norm = post, RMSNorm of the gated sum of experts "
              "(MoMa), or the gated sum of each expert's RMSNorm, which keeps the gate's gradient"},
        Field{"router_noise", router_noise,
              "while training, add Gumbel(0, 1) - Gumbel(0, 1) to the experts' router logits (MoMa, eq. 5)"},
        Field{"auxiliary_routers", auxiliary_routers,
              "a predictor beside every router, which routes causally once `tessera train-routers` has "
              "taught it "
              "(MoMa, 2.4)"},
        Field{"deviation", deviation, "standard deviation of the initial matrices", 0, 10}};
  }

  int64_t head_dim() const { return width / heads; }
  int64_t inner() const { return hidden ? hidden : 8 * width / 3; }
  const std::string& feed_forward_of(int64_t layer) const {
    return feed_forward[static_cast<size_t>(layer) % feed_forward.size()];
  }
  double depth_capacity_of(int64_t layer) const {
    return depth_capacity[static_cast<size_t>(layer) % depth_capacity.size()];
  }
  /// Whether a router decides which rows enter the layer.
  bool routes_depth(int64_t layer) const { return depth_capacity_of(layer) < 1; }
  /// Whether any router takes rows by comparing them, which leaks the future.
  bool routes_by_rank() const;
};

/// Empty for "dense".  Throws Error for a name that is none of the forms.
std::vector<ExpertGroup> parse_feed_forward(const std::string& name);

/// Throws Error naming the field when members do not fit each other.
void check(const ModelConfig& config);

/// Slots per expert for tokens candidates: 0 of none, else at least 1, at most all.  One "expert" with the capacity of a layer
/// is mixture-of-depths.
int64_t expert_slots(int64_t tokens, int64_t experts, double capacity);

/// Text and image tokens of a micro-batch, without padding, by pool of expert choice: one entry, or one per unit.
using PoolTokens = std::vector<std::vector<int64_t>>;

/// Slots of each expert of a group for those tokens.
int64_t slots_of_each(const ModelConfig& config, const ExpertGroup& group, const PoolTokens& tokens);

/// Learned numbers by part ("embedding", "head", "attention", "feed_forward", and the small terms "norms",
/// "qk_norms", "routers", "depth_routers", "auxiliary_routers"), in closed form.
std::map<std::string, int64_t> parameter_counts(const ModelConfig& config);

/// Forward floating-point operations of a micro-batch, in closed form, by the convention of
/// autograd/ledger.h.
struct FlopInputs {
  int64_t rows = 0;  ///< with padding
  std::vector<int64_t> segment_lengths;
  PoolTokens tokens;
  std::map<int64_t, std::shared_ptr<const FlopInputs>>
      taken;  ///< by layer with mixture-of-depths: the rows that enter it
};
int64_t forward_flops(const ModelConfig& config, const FlopInputs& inputs);

}  // namespace tessera
