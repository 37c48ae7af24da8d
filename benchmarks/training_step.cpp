#include "benchmarks/training_step.h"

#include <algorithm>

#include "benchmarks/machine_limits.h"
#include "data/synthetic.h"
#include "launch/rows.h"

namespace tessera::benchmarks {
namespace {

int64_t booked(const Ledger& ledger, const char* op) {
  const auto cost = ledger.by_op().find(op);
  return cost == ledger.by_op().end() ? 0 : cost->second.flops();
}

}  // namespace

Config config_of(const StepSetting& setting) {
  std::vector<std::string> settings{str("compute=", setting.compute), "loader.attend_across_documents=true"};
  settings.insert(settings.end(), setting.settings.begin(), setting.settings.end());
  return load_config(str(TESSERA_CONFIGS, "/", setting.config, ".json"), settings);
}

void write_dataset_for(const StepSetting& setting, const std::string& folder) {
  constexpr int64_t kImages = 4, kDelimiters = 5;  // of a unit; tokens around the codes of an image
  const int64_t vocabulary = config_of(setting).model.vocab;
  SyntheticOptions options{.length = setting.length,
                           .codes_per_image = setting.length / 2 / kImages - kDelimiters,
                           .images_per_unit = kImages,
                           .image_codes = vocabulary / 4};
  options.text_pieces = vocabulary - Vocabulary{options.image_codes, 0}.size();
  write_synthetic_dataset(folder, 1, options);
}

TrainingStep::TrainingStep(const StepSetting& setting, Communicator& world)
    : setting_(setting),
      config_(config_of(setting)),
      engine_(setting.threads),
      world_(traced(world, engine_.trace)),
      model_(config_.model),
      shards_(shard(model_, Mesh(*world_, config_.mesh), engine_.stream(), layout().sharding,
                    static_cast<uint64_t>(config_.seed), config_.model.deviation)),
      optimizer_(adamw_over(shards_.pieces(), config_.adamw)),
      loader_(open_loader()) {
  read_batches();
  run();
}

Layout TrainingStep::layout() const {
  return {world_->size(),
          config_.mesh,
          {config_.compute_dtype(), config_.reshard_after_forward},
          config_.recomputed().blocks};
}

Loader TrainingStep::open_loader() {
  write_dataset_for(setting_, folder_ / "tokens");
  return Loader(TokenDataset(folder_ / "tokens", "train"), config_.loader, 1, engine_.stream());
}

void TrainingStep::read_batches() {
  const StepPlan plan = loader_.plan(0);
  scale_ = 1.0f / static_cast<float>(plan.target_count);
  for (int64_t leaf = 0; leaf < plan.leaves; ++leaf)
    leaves_.push_back(pool_tokens(loader_.token_counts(0, leaf), config_.model.routing_pool));
  for (int64_t round = 0; round < shards_.mesh().rounds(plan.leaves); ++round) {
    const std::optional<int64_t> leaf = shards_.mesh().leaf(round, plan.leaves);
    batches_.push_back(leaf ? read_batch(loader_.dataset(), loader_.sampler().micro_batch(0, *leaf),
                                         config_.loader.attend_across_documents, engine_.stream())
                            : empty_batch(engine_.stream()));
  }
}

int64_t TrainingStep::tokens() const {
  int64_t tokens = 0;
  for (const PoolTokens& leaf : leaves_)
    for (const std::vector<int64_t>& pool : leaf)
      for (int64_t of_modality : pool) tokens += of_modality;
  return tokens;
}

void TrainingStep::micro_batch(int64_t round) {
  const Batch& batch = batches_[static_cast<size_t>(round)];
  shards_.begin_round(round, std::ssize(leaves_));
  Routings routings;
  const Rows rows =
      rows_of_round(batch, config_, shards_.mesh(), loader_, 0, round, routings, batch.tokens.stream());
  Tape tape;
  const Loss loss = model_.loss(model_.hidden(rows), batch.targets, scale_, config_.z_loss);
  tape.backward(loss.total);
  if (step_ > 0) return;
  flops_ += tape.ledger().total().flops();
  attention_flops_ += booked(tape.ledger(), "attention");
  if (world_->size() == 1) count_products(rows, tape.ledger());
}

double TrainingStep::run() {
  const int64_t begin = clock_ns(setting_.threads);
  for (int64_t round = 0; round < std::ssize(batches_); ++round) micro_batch(round);
  shards_.finish_step();
  const double norm = shards_.gradient_norm();
  optimizer_.step(step_, learning_rate(config_.schedule, step_, config_.steps),
                  static_cast<float>(std::min(1.0, config_.clip / norm)));
  shards_.stepped();
  ++step_;
  return 1e-9 * static_cast<double>(clock_ns(setting_.threads) - begin);
}

/// Every matrix meets every row of its layer, but for those of experts, which meet the rows that chose them.
void TrainingStep::count_products(const Rows& rows, const Ledger& ledger) {
  const double flops_before = product_flops();
  const auto count_product = [&](int64_t row_count, const Parameter& weight) {
    for (ProductForm form : {ProductForm::forward, ProductForm::backward_input, ProductForm::backward_weight})
      ++products_[{form, row_count, weight.shape[-1], weight.shape[-2], setting_.compute, setting_.threads}];
  };
  const auto count_layer = [&](int64_t row_count, auto& layer) {
    for_each_parameter(layer, "", [&](const std::string&, const Parameter& weight) {
      if (weight.shape.rank() == 2) count_product(row_count, weight);
    });
  };
  for (size_t i = 0; i < model_.blocks.size(); ++i) {
    Block& block = model_.blocks[i];
    int64_t entering = rows.tokens.count();
    if (block.depth) {
      count_layer(entering, *block.depth);
      entering = rows.record->depths.at(static_cast<int64_t>(i)).rows.tokens.count();
    }
    count_layer(entering, block.attention);
    std::visit([&](auto& layer) { count_layer(entering, layer); }, block.feed_forward);
    const auto* mixture = std::get_if<Sharded<MixtureOfExperts>>(&block.feed_forward);
    if (!mixture) continue;
    const std::vector<int64_t>& offsets = rows.record->experts.at(static_cast<int64_t>(i)).routing.offsets;
    size_t expert = 0;
    for (const Sharded<ExpertNetworks>& group : mixture->layer.experts)
      for (size_t j = 0; j < group.layer.labels.size(); ++j, ++expert)
        for (const Parameter* weight : {&group.layer.gate, &group.layer.up, &group.layer.down})
          count_product(offsets[expert + 1] - offsets[expert], *weight);
  }
  count_product(rows.tokens.count(), model_.head.layer.weight);

  const double counted = product_flops() - flops_before;
  double expected = 0;
  for (const char* op : {"matmul", "matmul_f32", "linear_cross_entropy"})
    expected += static_cast<double>(booked(ledger, op));
  TESSERA_CHECK(counted == expected, "training step: its matrix products have ", counted,
                " operations, the ledger has ", expected);
}

double TrainingStep::product_flops() const {
  double flops = 0;
  for (const auto& [product, times] : products_) flops += static_cast<double>(times) * product.flops();
  return flops;
}

void with_training_step(const StepSetting& setting, const std::function<void(TrainingStep&)>& body) {
  run_ranks(1, [&](Communicator& world) {
    TrainingStep step(setting, world);
    body(step);
  });
}

}  // namespace tessera::benchmarks
