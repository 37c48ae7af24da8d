#include "layers/model_config.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "runtime/error.h"

namespace tessera {
namespace {

/// A whole number from 1 to 4096 at text[at], moving at past it; 0 when there is none.
int64_t read_count(const std::string& text, size_t& at) {
  const size_t begin = at;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9' && at - begin < 5) ++at;
  const int64_t count =
      begin == at || text[begin] == '0' ? 0 : std::atoll(text.substr(begin, at - begin).c_str());
  return count <= 4096 ? count : 0;
}

}  // namespace

std::vector<ExpertGroup> parse_feed_forward(const std::string& name) {
  if (name == "dense") return {};
  size_t at = 0;
  if (name.starts_with("moe_")) {
    at = 4;
    const int64_t experts = read_count(name, at);
    if (experts > 0 && name.substr(at) == "x") return {{"mixed", experts, {0, 1}}};
  } else {
    const int64_t text = read_count(name, at);
    if (text > 0 && at < name.size() && name[at] == 't') {
      const int64_t image = read_count(name, ++at);
      if (image > 0 && name.substr(at) == "i") return {{"text", text, {0}}, {"image", image, {1}}};
    }
  }
  throw Error(str("model.feed_forward: expected dense, NtMi such as 4t4i, or moe_Nx such as moe_8x, got \"",
                  name, "\""));
}

void check(const ModelConfig& config) {
  TESSERA_CHECK(config.width % config.heads == 0 && config.head_dim() % 2 == 0,
                "model.heads: width / heads must be an even whole number, got ", config.width, " / ",
                config.heads);
  const size_t layers = static_cast<size_t>(config.layers);
  TESSERA_CHECK(config.feed_forward.size() == 1 || config.feed_forward.size() == layers,
                "model.feed_forward: must have one entry or one per layer (", layers, "), got ",
                config.feed_forward.size());
  for (const std::string& name : config.feed_forward) parse_feed_forward(name);
}

int64_t expert_slots(int64_t tokens, int64_t experts, double capacity) {
  const auto wanted =
      static_cast<int64_t>(std::ceil(capacity * static_cast<double>(tokens) / static_cast<double>(experts)));
  return std::min(tokens, std::max<int64_t>(1, wanted));
}

std::map<std::string, int64_t> parameter_counts(const ModelConfig& config) {
  const int64_t width = config.width, layers = config.layers;
  std::map<std::string, int64_t> counts{{"embedding", config.vocab * width},
                                        {"head", config.vocab * width},
                                        {"attention", layers * 4 * width * width},
                                        {"feed_forward", 0},
                                        {"norms", (2 * layers + 1) * width},
                                        {"qk_norms", config.qk_norm ? layers * 4 * config.head_dim() : 0},
                                        {"routers", 0}};
  for (int64_t layer = 0; layer < layers; ++layer) {
    int64_t networks = 0;
    for (const ExpertGroup& group : parse_feed_forward(config.feed_forward_of(layer))) {
      networks += group.experts;
      if (group.routed()) counts["routers"] += group.experts * width;
    }
    counts["feed_forward"] += std::max<int64_t>(networks, 1) * 3 * width * config.inner();
  }
  return counts;
}

int64_t forward_flops(const ModelConfig& config, const FlopInputs& inputs) {
  const int64_t width = config.width;
  int64_t squares = 0;
  for (int64_t length : inputs.segment_lengths) squares += length * length;
  int64_t flops = 2 * inputs.rows * width * config.vocab;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    flops += 2 * inputs.rows * 4 * width * width + 2 * squares * width;
    const std::vector<ExpertGroup> groups = parse_feed_forward(config.feed_forward_of(layer));
    int64_t slots = groups.empty() ? inputs.rows : 0, routed_experts = 0;
    for (const ExpertGroup& group : groups) {
      if (group.routed()) routed_experts += group.experts;
      for (const std::vector<int64_t>& pool : inputs.tokens) {
        int64_t tokens = 0;
        for (int modality : group.modalities) tokens += pool[static_cast<size_t>(modality)];
        slots +=
            group.routed() ? group.experts * expert_slots(tokens, group.experts, config.capacity) : tokens;
      }
    }
    flops += 2 * inputs.rows * routed_experts * width + 2 * slots * 3 * width * config.inner();
  }
  return flops;
}

}  // namespace tessera
