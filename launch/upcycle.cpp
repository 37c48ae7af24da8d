#include "launch/upcycle.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "data/loader.h"
#include "launch/format.h"
#include "launch/process.h"
#include "launch/rows.h"
#include "launch/trained_model.h"
#include "parallel/agree.h"
#include "parallel/checkpoint_saver.h"
#include "runtime/random.h"

namespace tessera {
namespace {

/// A parameter with its moments, on one rank.
struct Learned {
  Shape shape;
  std::vector<float> value, first, second;
};
using LearnedByName = std::map<std::string, Learned>;

LearnedByName read_learned(const std::string& checkpoint, const Shards& shards, const AdamWConfig& config,
                           Communicator& world) {
  const std::vector<ShardPiece> pieces = shards.pieces();
  const AdamW optimizer = adamw_over(pieces, config);
  load_checkpoint(checkpoint, {pieces, &optimizer}, world);
  LearnedByName learned;
  for (size_t i = 0; i < pieces.size(); ++i)
    learned[pieces[i].parameter->name] = {pieces[i].parameter->shape, pieces[i].value.to_vector<float>(),
                                          optimizer.first(i).to_vector<float>(),
                                          optimizer.second(i).to_vector<float>()};
  return learned;
}

/// Whose matrix a parameter is: "blocks.3.feed_forward.experts.text.gate".
struct ExpertMatrix {
  int64_t block;
  std::string feed_forward;  ///< "blocks.3.feed_forward"
  std::string group;         ///< "text"
  std::string matrix;        ///< "gate"
};

std::optional<ExpertMatrix> expert_matrix(const std::string& name) {
  static constexpr std::string_view kBlocks = "blocks.", kExperts = ".experts.";
  const size_t experts = name.find(kExperts), last = name.rfind('.');
  if (!name.starts_with(kBlocks) || experts == std::string::npos) return {};
  const size_t group = experts + kExperts.size();
  return ExpertMatrix{std::stoll(name.substr(kBlocks.size())), name.substr(0, experts),
                      name.substr(group, last - group), name.substr(last + 1)};
}

/// Draws a share of the hidden units of one expert's matrix anew.  Units are rows of gate and up, columns of down.
void reinitialise(std::span<float> matrix, const Parameter& parameter, int64_t expert, double share,
                  uint64_t seed) {
  const bool is_down = parameter.name.ends_with(".down");
  const int64_t rows = parameter.shape[1], cols = parameter.shape[2], units = is_down ? cols : rows;
  double mean = 0, squares = 0;
  for (float value : matrix) mean += value / static_cast<double>(matrix.size());
  for (float value : matrix) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(matrix.size()));
  // The same units in all three matrices of an expert.
  const std::string network = parameter.name.substr(0, parameter.name.rfind('.'));
  const Purpose which(str("reinitialised units ", network, " ", expert));
  const Purpose values(str("reinitialised values ", parameter.name, " ", expert));
  const auto count = static_cast<int64_t>(std::lround(share * static_cast<double>(units)));
  for (int64_t i = 0; i < count; ++i) {
    const auto unit = static_cast<int64_t>(
        random_permutation(seed, which, static_cast<uint64_t>(units), static_cast<uint64_t>(i)));
    for (int64_t j = 0; j < (is_down ? rows : cols); ++j) {
      const int64_t at = is_down ? j * cols + unit : unit * cols + j;
      matrix[static_cast<size_t>(at)] =
          static_cast<float>(mean + deviation * random_normal(seed, values, static_cast<uint64_t>(at)));
    }
  }
}

/// Experts that are those of from in turn.
std::vector<float> cloned(const std::vector<float>& from, int64_t experts, int64_t each) {
  std::vector<float> to;
  for (int64_t i = 0; i < experts * each; ++i) to.push_back(from[static_cast<size_t>(i) % from.size()]);
  return to;
}

class Upcycling {
 public:
  Upcycling(const UpcycleOptions& options, const Config& from, const Config& to, LearnedByName seed)
      : options_(options), from_(from), to_(to), seed_(std::move(seed)) {}

  /// Fills the shards of the new model and, with moments "clone", its optimizer.
  void fill(const Shards& shards, const AdamW& optimizer) {
    const std::vector<ShardPiece> pieces = shards.pieces();
    for (size_t i = 0; i < pieces.size(); ++i) {
      const std::optional<Learned> learned = descend(*pieces[i].parameter);
      if (!learned) continue;
      pieces[i].value.assign(std::span<const float>(learned->value));
      if (options_.moments != "clone") continue;
      optimizer.first(i).assign(std::span<const float>(learned->first));
      optimizer.second(i).assign(std::span<const float>(learned->second));
    }
    for (const auto& [name, unused] : seed_)
      TESSERA_CHECK(used_.contains(name), "upcycle: the seed's ", name, " has no place in the new model");
  }

 private:
  /// What the parameter begins with; none for a new router, which keeps its initial values.
  std::optional<Learned> descend(const Parameter& parameter) {
    const std::optional<ExpertMatrix> matrix = expert_matrix(parameter.name);
    const std::string name = matrix ? ancestor_of(*matrix) : parameter.name;
    const auto found = seed_.find(name);
    if (found == seed_.end()) {
      TESSERA_CHECK(!parameter.name.ends_with(".feed_forward.gate"), "upcycle: ", parameter.name,
                    ": experts cannot become a dense network");
      TESSERA_CHECK(parameter.name.ends_with(".router") || is_auxiliary(parameter),
                    "upcycle: the seed has no ", name);
      return {};
    }
    used_.insert(name);
    const Learned& ancestor = found->second;
    if (matrix) return clone(parameter, ancestor);
    if (ancestor.shape == parameter.shape) return ancestor;
    TESSERA_CHECK(parameter.name.ends_with(".router"), "upcycle: ", parameter.name, " is ", ancestor.shape,
                  " in the seed, ", parameter.shape, " in the new model");
    return {};
  }

  /// The seed's network for the same modalities.
  std::string ancestor_of(const ExpertMatrix& matrix) const {
    const std::vector<ExpertGroup> from = parse_feed_forward(from_.model.feed_forward_of(matrix.block)),
                                   to = parse_feed_forward(to_.model.feed_forward_of(matrix.block));
    if (from.empty()) return str(matrix.feed_forward, ".", matrix.matrix);
    const auto group = std::ranges::find(to, matrix.group, &ExpertGroup::name);
    const auto parent = std::ranges::find(from, group->modalities, &ExpertGroup::modalities);
    TESSERA_CHECK(parent != from.end(), "upcycle: ", matrix.feed_forward,
                  ": the seed has no network for the modalities of group ", matrix.group);
    return str(matrix.feed_forward, ".experts.", parent->name, ".", matrix.matrix);
  }

  std::optional<Learned> clone(const Parameter& parameter, const Learned& ancestor) const {
    const int64_t experts = parameter.shape[0], each = parameter.shape[1] * parameter.shape[2];
    const int64_t networks = ancestor.shape.rank() == 2 ? 1 : ancestor.shape[0];
    TESSERA_CHECK(std::ssize(ancestor.value) == networks * each, "upcycle: ", parameter.name, " is ",
                  ancestor.shape, " in the seed, ", parameter.shape, " in the new model: widths must agree");
    Learned learned{parameter.shape, cloned(ancestor.value, experts, each),
                    cloned(ancestor.first, experts, each), cloned(ancestor.second, experts, each)};
    if (experts > networks)
      for (int64_t expert = 0; expert < experts; ++expert)
        reinitialise(
            std::span(learned.value).subspan(static_cast<size_t>(expert * each), static_cast<size_t>(each)),
            parameter, expert, options_.reinitialise, static_cast<uint64_t>(to_.seed));
    return learned;
  }

  const UpcycleOptions& options_;
  const Config &from_, &to_;
  LearnedByName seed_;
  std::set<std::string> used_;
};

/// Nats per scored target of a micro-batch.
double loss_on(Transformer& model, const Batch& batch, Stream stream) {
  int64_t targets = 0;
  for (int64_t count : batch.target_counts) targets += count;
  const Loss loss = model.loss(model.hidden(rows_of(batch, stream)), batch.targets.to(stream),
                               1 / static_cast<float>(targets), 0);
  return loss.total.value().to_vector<float>()[0];
}

}  // namespace

namespace {

/// Whether the thresholds of one model are those of the other.
bool same_but_for_auxiliary_routers(ModelConfig a, ModelConfig b) {
  a.auxiliary_routers = b.auxiliary_routers = false;
  return to_json(a) == to_json(b);
}

}  // namespace

Config upcycled_config(const SavedRun& seed, const UpcycleOptions& options) {
  Config config = seed.state.config;
  config.out.clear();
  Json json = to_json(config);
  override_settings(options.overrides, json);
  from_json(json, "command line", config);
  check(config);
  TESSERA_CHECK(!config.out.empty(), "out: name the folder of the upcycled run, e.g. out=runs/4t4i");
  TESSERA_CHECK(config.steps > seed.step, "steps: the seed has done ", seed.step,
                " steps, so the whole run must have more, got ", config.steps);
  config.schedule.first_step = seed.step;
  if (options.moments == "reset") config.adamw.first_step = seed.step;
  return config;
}

Upcycled upcycle(const UpcycleOptions& options, Communicator& world) {
  const std::optional<std::string> checkpoint = latest_checkpoint(options.source);
  TESSERA_CHECK(checkpoint, options.source, ": holds no checkpoint to upcycle");
  CpuEngine engine;
  const Stream stream = engine.stream();
  TrainedModel seed(*checkpoint, world, stream);
  SavedRun saved = read_saved_run(*checkpoint);
  const Config config = upcycled_config(saved, options);
  TESSERA_CHECK(!latest_checkpoint(config.out), "out: ", config.out, " holds a checkpoint already");
  const TokenDataset dataset = seed.open_data(config.data, "train");
  const Loader loader(dataset, config.loader, static_cast<uint64_t>(config.seed), stream);
  const Batch batch = read_batch(dataset, loader.sampler().micro_batch(saved.step, 0),
                                 config.loader.attend_across_documents, stream);
  const double before = loss_on(seed.model(), batch, stream);

  Transformer model(config.model);
  const Shards shards = shard(model, Mesh(world), stream, {config.compute_dtype(), true},
                              static_cast<uint64_t>(config.seed), config.model.deviation);
  const AdamW optimizer = adamw_over(shards.pieces(), config.adamw);
  Upcycling(options, seed.config(), config,
            read_learned(*checkpoint, seed.shards(), seed.config().adamw, world))
      .fill(shards, optimizer);
  const double after = loss_on(model, batch, stream);

  saved.state.config = config;
  saved.state.guard = {};
  if (!same_but_for_auxiliary_routers(seed.config().model, config.model)) saved.state.thresholds = {};
  std::filesystem::create_directories(config.out);
  save_checkpoint(config.out, saved.step, {shards.pieces(), &optimizer}, to_json(saved.state), world);
  write_json(config.out + "/config.json", to_json(saved.state.config));
  return {*checkpoint, saved.step, config.out, before, after};
}

int run_upcycle(const UpcycleOptions& options) {
  return run_process(1, [&](Communicator& world) {
    const Upcycled made = upcycle(options, world);
    std::printf("%s, after %s steps, became %s\n", made.checkpoint.c_str(), std::to_string(made.step).c_str(),
                made.out.c_str());
    std::printf("loss on the next micro-batch: seed %s, upcycled %s, jump %s nats\n",
                format_fixed(made.seed_loss, 6).c_str(), format_fixed(made.loss, 6).c_str(),
                format_fixed(made.loss - made.seed_loss, 6).c_str());
    std::printf("go on with: tessera train %s/config.json\n", made.out.c_str());
    return static_cast<int>(kExitSuccess);
  });
}

}  // namespace tessera
