#include "layers/model_config.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::string_view kShared = "+shared";

/// A whole number from 1 to 4096 at text[at], moving at past it; 0 when there is none.
int64_t read_count(const std::string& text, size_t& at) {
  const size_t begin = at;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9' && at - begin < 5) ++at;
  const int64_t count =
      begin == at || text[begin] == '0' ? 0 : std::atoll(text.substr(begin, at - begin).c_str());
  return count <= 4096 ? count : 0;
}

/// The experts of NtMi or moe_Nx; none when name is neither.
std::vector<ExpertGroup> parse_groups(const std::string& name) {
  size_t at = 0;
  if (name.starts_with("moe_")) {
    at = 4;
    const int64_t experts = read_count(name, at);
    if (experts > 0 && name.substr(at) == "x") return {{"mixed", experts, {0, 1}}};
    return {};
  }
  const int64_t text = read_count(name, at);
  if (text == 0 || at >= name.size() || name[at] != 't') return {};
  const int64_t image = read_count(name, ++at);
  if (image == 0 || name.substr(at) != "i") return {};
  return {{"text", text, {0}}, {"image", image, {1}}};
}

/// Entries by layer repeat: they must divide the layers.
void check_pattern(const char* field, size_t entries, int64_t layers) {
  TESSERA_CHECK(entries > 0 && static_cast<size_t>(layers) % entries == 0, "model.", field,
                ": the number of entries must divide the ", layers, " layers, got ", entries);
}

}  // namespace

bool ModelConfig::routes_by_rank() const {
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (routes_depth(layer)) return true;
    for (const ExpertGroup& group : parse_feed_forward(feed_forward_of(layer)))
      if (group.routed()) return true;
  }
  return false;
}

std::vector<ExpertGroup> parse_feed_forward(const std::string& name) {
  if (name == "dense") return {};
  const bool shared = name.ends_with(kShared);
  std::vector<ExpertGroup> groups = parse_groups(name.substr(0, name.size() - (shared ? kShared.size() : 0)));
  TESSERA_CHECK(
      !groups.empty(),
      "model.feed_forward: expected dense, NtMi such as 4t4i, or moe_Nx such as moe_8x, the last two also "
      "with +shared, got \"",
      name, "\"");
  if (shared) {
    groups.push_back({"shared_text", 1, {0}});
    groups.push_back({"shared_image", 1, {1}});
  }
  return groups;
}

void check(const ModelConfig& config) {
  TESSERA_CHECK(config.width % config.heads == 0 && config.head_dim() % 2 == 0,
                "model.heads: width / heads must be an even whole number, got ", config.width, " / ",
                config.heads);
  check_pattern("feed_forward", config.feed_forward.size(), config.layers);
  check_pattern("depth_capacity", config.depth_capacity.size(), config.layers);
  for (const std::string& name : config.feed_forward) parse_feed_forward(name);
  TESSERA_CHECK(
      config.gate_order == "gate_then_norm" || config.norm == "post",
      "model.gate_order: norm_then_gate needs norm = post: with norm = pre nothing is normed after the "
      "experts");
  TESSERA_CHECK(!config.auxiliary_routers || config.routes_by_rank(),
                "model.auxiliary_routers: no layer has a router that they could learn from");
  TESSERA_CHECK(!config.auxiliary_routers || config.width % 2 == 0,
                "model.auxiliary_routers: their inner size is width / 2, and width is ", config.width);
}

int64_t expert_slots(int64_t tokens, int64_t experts, double capacity) {
  const auto wanted =
      static_cast<int64_t>(std::ceil(capacity * static_cast<double>(tokens) / static_cast<double>(experts)));
  return std::min(tokens, std::max<int64_t>(1, wanted));
}

int64_t slots_of_each(const ModelConfig& config, const ExpertGroup& group, const PoolTokens& tokens) {
  int64_t slots = 0;
  for (const std::vector<int64_t>& pool : tokens) {
    int64_t candidates = 0;
    for (int modality : group.modalities) candidates += pool[static_cast<size_t>(modality)];
    slots += group.routed() ? expert_slots(candidates, group.experts, config.capacity) : candidates;
  }
  return slots;
}

std::map<std::string, int64_t> parameter_counts(const ModelConfig& config) {
  const int64_t width = config.width, layers = config.layers;
  std::map<std::string, int64_t> counts{{"embedding", config.vocab * width},
                                        {"head", config.vocab * width},
                                        {"attention", layers * 4 * width * width},
                                        {"feed_forward", 0},
                                        {"norms", (2 * layers + 1) * width},
                                        {"qk_norms", config.qk_norm ? layers * 4 * config.head_dim() : 0},
                                        {"routers", 0},
                                        {"depth_routers", 0},
                                        {"auxiliary_routers", 0}};
  const auto add_auxiliary = [&](int64_t experts) {
    if (config.auxiliary_routers) counts["auxiliary_routers"] += (width + experts) * (width / 2);
  };
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (config.routes_depth(layer)) {
      counts["depth_routers"] += width;
      add_auxiliary(1);
    }
    int64_t networks = 0;
    for (const ExpertGroup& group : parse_feed_forward(config.feed_forward_of(layer))) {
      networks += group.experts;
      if (!group.routed()) continue;
      counts["routers"] += group.experts * width;
      add_auxiliary(group.experts);
    }
    counts["feed_forward"] += std::max<int64_t>(networks, 1) * 3 * width * config.inner();
  }
  return counts;
}

namespace {

/// Of one layer and the rows that enter it.
int64_t layer_flops(const ModelConfig& config, int64_t layer, const FlopInputs& inputs) {
  const int64_t width = config.width;
  int64_t squares = 0;
  for (int64_t length : inputs.segment_lengths) squares += length * length;
  const std::vector<ExpertGroup> groups = parse_feed_forward(config.feed_forward_of(layer));
  int64_t slots = groups.empty() ? inputs.rows : 0, routed_experts = 0;
  for (const ExpertGroup& group : groups) {
    if (group.routed()) routed_experts += group.experts;
    slots += group.experts * slots_of_each(config, group, inputs.tokens);
  }
  return 2 * inputs.rows * 4 * width * width + 2 * squares * width +
         2 * inputs.rows * routed_experts * width + 2 * slots * 3 * width * config.inner();
}

}  // namespace

int64_t forward_flops(const ModelConfig& config, const FlopInputs& inputs) {
  int64_t flops = 2 * inputs.rows * config.width * config.vocab;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const bool routed = config.routes_depth(layer);
    if (routed) flops += 2 * inputs.rows * config.width;
    flops += layer_flops(config, layer, routed ? *inputs.taken.at(layer) : inputs);
  }
  return flops;
}

}  // namespace tessera
