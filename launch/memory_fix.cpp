// Changes of a config that make a training smaller, in order of their price.
#include <algorithm>

#include "launch/dry_run.h"
#include "runtime/json.h"

namespace tessera {
namespace {

/// One way to save memory, and what it costs.
struct Measure {
  std::vector<std::string> settings{};
  std::string price{};
};

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words)
    if (!word.empty()) text += str(text.empty() ? "" : between, word);
  return text;
}

/// The first one changes nothing.
std::vector<Measure> recomputations(const Config& config) {
  std::vector<Measure> measures{{}};
  bool experts = false;
  for (int64_t layer = 0; layer < config.model.layers; ++layer)
    experts = experts || !parse_feed_forward(config.model.feed_forward_of(layer)).empty();
  const Recompute now = config.recomputed();
  if (now.blocks) return measures;
  if (experts && !now.experts && !now.attention)
    measures.push_back({{"recompute=[\"experts\"]"}, "the networks of experts run forward twice"});
  if (!now.attention && !now.experts)
    measures.push_back({{"recompute=[\"attention\"]"}, "attention runs forward twice"});
  if (experts && !(now.attention && now.experts))
    measures.push_back({{"recompute=[\"attention\",\"experts\"]"},
                        "attention and the networks of experts run forward twice"});
  measures.push_back({{"recompute=[\"blocks\"]"}, "every block runs forward twice"});
  return measures;
}

std::vector<Measure> reshardings(const Config& config) {
  std::vector<Measure> measures{{}};
  if (!config.reshard_after_forward)
    measures.push_back({{"reshard_after_forward=true"}, "parameters are gathered twice per micro-batch"});
  return measures;
}

std::vector<Measure> precisions(const Config& config) {
  std::vector<Measure> measures{{}};
  if (config.compute == "f32")
    measures.push_back({{"compute=bf16"}, "activations and gathered parameters are rounded to bf16"});
  return measures;
}

std::vector<Measure> cuts(const Config& config) {
  std::vector<Measure> measures{{}};
  const LoaderConfig& loader = config.loader;
  const int64_t most = std::max(loader.mixed_units, loader.text_units);
  for (int64_t part = 2; part <= most && loader.mixed_units % part == 0 && loader.text_units % part == 0;
       part *= 2)
    measures.push_back({{str("loader.micro_batches=", loader.micro_batches * part),
                         str("loader.mixed_units=", loader.mixed_units / part),
                         str("loader.text_units=", loader.text_units / part)},
                        str("the same tokens per step in ", part,
                            " times as many micro-batches, so that experts choose among fewer tokens")});
  return measures;
}

Config with(const Config& config, const std::vector<std::string>& settings) {
  Config changed = config;
  Json json = to_json(changed);
  override_settings(settings, json);
  from_json(json, "dry run", changed);
  return changed;
}

class Search {
 public:
  Search(const Config& config, const PlanOptions& options, int64_t room, Communicator& world)
      : config_(config), options_(options), room_(room), world_(world) {}

  /// None when these do not fit.
  std::optional<MemoryFix> tried(int ranks, const std::vector<Measure>& measures) const {
    MemoryFix fix{.ranks = ranks};
    std::vector<std::string> prices;
    for (const Measure& measure : measures) {
      fix.settings.insert(fix.settings.end(), measure.settings.begin(), measure.settings.end());
      prices.push_back(measure.price);
    }
    fix.price = joined(prices, "; ");
    for (const MemoryPlan& plan : plan_ranks(with(config_, fix.settings), options_, ranks, world_))
      fix.need = std::max(fix.need, plan.total());
    return fix.need <= room_ ? std::optional(fix) : std::nullopt;
  }

  /// Of those that change no bits, with others that do.
  std::optional<MemoryFix> cheapest(int ranks, const Measure& cut, const Measure& precision) const {
    const std::vector<Measure> again = recomputations(config_), twice = reshardings(config_);
    if (!tried(ranks, {twice.back(), again.back(), precision, cut})) return std::nullopt;
    for (const Measure& recomputation : again)
      for (const Measure& resharding : twice)
        if (auto fix = tried(ranks, {resharding, recomputation, precision, cut})) return fix;
    return std::nullopt;
  }

 private:
  const Config& config_;
  const PlanOptions& options_;
  int64_t room_;
  Communicator& world_;
};

}  // namespace

std::optional<MemoryFix> cheapest_fix(const Config& config, const PlanOptions& options, int ranks,
                                      int64_t room, Communicator& world) {
  constexpr int kMostTimes = 8;
  const Search search(config, options, room, world);
  for (int times = 1; times <= kMostTimes; times *= 2)
    for (const Measure& cut : cuts(config))
      for (const Measure& precision : precisions(config)) {
        if (times > 1 && times * ranks > with(config, cut.settings).loader.micro_batches) continue;
        if (auto fix = search.cheapest(times * ranks, cut, precision)) return fix;
      }
  return std::nullopt;
}

}  // namespace tessera
