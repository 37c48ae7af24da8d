#include "benchmarks/training_step.h"

#include <algorithm>

#include "benchmarks/machine_limits.h"
#include "data/loader.h"
#include "data/synthetic.h"
#include "launch/rows.h"
#include "tests/data/temporary_folder.h"

namespace tessera::benchmarks {
namespace {

Config load(const StepSetting& setting) {
  return load_config(str(TESSERA_CONFIGS, "/", setting.config, ".json"),
                     {str("compute=", setting.compute), "loader.attend_across_documents=true"});
}

}  // namespace

TrainingStep::TrainingStep(const StepSetting& setting, Communicator& world)
    : setting_(setting),
      config_(load(setting)),
      engine_(setting.threads),
      model_(config_.model),
      shards_(shard(model_, Mesh(world), engine_.stream(),
                    {config_.compute_dtype(), config_.reshard_after_forward},
                    static_cast<uint64_t>(config_.seed), config_.model.deviation)),
      optimizer_(adamw_over(shards_.pieces(), config_.adamw)),
      batches_(read_batches()) {
  run();
}

std::vector<Batch> TrainingStep::read_batches() {
  constexpr int64_t kImages = 4, kDelimiters = 5;  // of a unit; tokens around the codes of an image
  SyntheticOptions options{.length = setting_.length,
                           .codes_per_image = setting_.length / 2 / kImages - kDelimiters,
                           .images_per_unit = kImages,
                           .image_codes = config_.model.vocab / 4};
  options.text_pieces = config_.model.vocab - Vocabulary{options.image_codes, 0}.size();
  const TemporaryFolder folder;
  write_synthetic_dataset(folder / "tokens", 1, options);
  const Loader loader(TokenDataset(folder / "tokens", "train"), config_.loader, 1, engine_.stream());
  scale_ = 1.0f / static_cast<float>(loader.plan(0).target_count);
  std::vector<Batch> batches;
  for (int64_t leaf = 0; leaf < loader.plan(0).leaves; ++leaf) {
    batches.push_back(read_batch(loader.dataset(), loader.sampler().micro_batch(0, leaf),
                                 config_.loader.attend_across_documents, engine_.stream()));
    tokens_ += batches.back().tokens.count();
  }
  return batches;
}

void TrainingStep::micro_batch(size_t leaf) {
  const Batch& batch = batches_[leaf];
  shards_.begin_round(static_cast<int64_t>(leaf), std::ssize(batches_));
  Rows rows = rows_of(batch, batch.tokens.stream());
  Routings routings;
  rows.record = &routings;
  Tape tape;
  const Loss loss = cross_entropy(model_(rows), batch.targets, scale_, config_.z_loss);
  tape.backward(loss.total);
  if (step_ == 0) count(rows, tape.ledger());
}

double TrainingStep::run() {
  const int64_t begin = clock_ns(setting_.threads);
  for (size_t leaf = 0; leaf < batches_.size(); ++leaf) micro_batch(leaf);
  shards_.finish_step();
  const double norm = shards_.gradient_norm();
  optimizer_.step(step_, learning_rate(config_.schedule, step_, config_.steps),
                  static_cast<float>(std::min(1.0, config_.clip / norm)));
  shards_.invalidate();
  ++step_;
  return 1e-9 * static_cast<double>(clock_ns(setting_.threads) - begin);
}

/// Every matrix meets every row, but for those of experts, which meet the rows that chose them.
void TrainingStep::count(const Rows& rows, const Ledger& ledger) {
  const double flops_before = product_flops();
  const auto count_product = [&](int64_t row_count, const Parameter& weight) {
    for (ProductForm form : {ProductForm::forward, ProductForm::backward_input, ProductForm::backward_weight})
      ++products_[{form, row_count, weight.shape[-1], weight.shape[-2], setting_.compute, setting_.threads}];
  };
  for (size_t block = 0; block < model_.blocks.size(); ++block) {
    for_each_parameter(model_.blocks[block], "", [&](const std::string&, const Parameter& weight) {
      if (weight.shape.rank() == 2) count_product(rows.tokens.count(), weight);
    });
    const auto* mixture = std::get_if<Sharded<MixtureOfExperts>>(&model_.blocks[block].feed_forward);
    if (!mixture) continue;
    const std::vector<int64_t>& offsets =
        rows.record->experts.at(static_cast<int64_t>(block)).routing.offsets;
    size_t expert = 0;
    for (const Sharded<ExpertNetworks>& group : mixture->layer.experts)
      for (size_t i = 0; i < group.layer.labels.size(); ++i, ++expert)
        for (const Parameter* weight : {&group.layer.gate, &group.layer.up, &group.layer.down})
          count_product(offsets[expert + 1] - offsets[expert], *weight);
  }
  count_product(rows.tokens.count(), model_.head.layer.weight);

  const auto booked = [&](const char* op) {
    const auto cost = ledger.by_op().find(op);
    return cost == ledger.by_op().end() ? 0.0 : static_cast<double>(cost->second.flops());
  };
  const double counted = product_flops() - flops_before, expected = booked("matmul") + booked("matmul_f32");
  TESSERA_CHECK(counted == expected, "training step: its matrix products have ", counted,
                " operations, the ledger has ", expected);
  flops_ += ledger.total().flops();
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
