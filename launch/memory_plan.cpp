#include "launch/memory_plan.h"

#include <algorithm>

#include "autograd/functions.h"
#include "launch/rows.h"
#include "launch/train.h"
#include "layers/transformer.h"
#include "runtime/cpu_engine.h"
#include "runtime/meta_engine.h"
#include "runtime/stream.h"

namespace tessera {
namespace {

int64_t bytes_of_batch(const Batch& batch) {
  int64_t bytes = batch.tokens.bytes() + batch.targets.bytes() + batch.positions.bytes();
  for (const ModalityRows& modality : batch.rows) bytes += modality.index.bytes();
  return bytes;
}

/// What launch/train.cpp does, on tensors that are counted and not there.
class CountedTraining {
 public:
  CountedTraining(const Config& config, ProductScratch scratch, Communicator& world)
      : config_(config),
        engine_(scratch),
        stream_(engine_.stream()),
        loader_(open_loader(config, world, host_.stream())),
        model_(config.model),
        shards_(shard(model_, Mesh(world, config.mesh), stream_,
                      {config.compute_dtype(), config.reshard_after_forward},
                      static_cast<uint64_t>(config.seed), config.model.deviation)),
        optimizer_(trained_optimizer()) {}

  void step(int64_t step) {
    const StepPlan plan = loader_->plan(step);
    for (int64_t round = 0; round < shards_.mesh().rounds(plan.leaves); ++round)
      micro_batch(step, round, plan.leaves);
    shards_.finish_step();
    static_cast<void>(shards_.gradient_norm());
    optimizer_.step(step, 0, 1);
    shards_.stepped();
  }

  const MetaEngine& engine() const { return engine_; }
  int64_t moments() const {
    int64_t bytes = 0;
    for (const ShardPiece& piece : shards_.pieces()) bytes += 2 * piece.value.bytes();
    return bytes;
  }

 private:
  AdamW trained_optimizer() {
    choose_trained(model_, config_.trained == "model");
    return adamw_over(shards_.pieces(), config_.adamw);
  }

  Batch read(int64_t step, std::optional<int64_t> leaf) {
    if (!leaf) return empty_batch(host_.stream());
    Batch batch = read_batch(loader_->dataset(), loader_->sampler().micro_batch(step, *leaf),
                             config_.loader.attend_across_documents, host_.stream());
    // The loader has so many ready and one more in its hands.
    if (waiting_.empty() && config_.device == "cpu")
      for (int64_t i = 0; i <= config_.loader.prefetch; ++i)
        waiting_.push_back(Tensor::empty({bytes_of_batch(batch)}, DType::u8, stream_));
    return batch;
  }

  void micro_batch(int64_t step, int64_t round, int64_t leaves) {
    const Mesh& mesh = shards_.mesh();
    shards_.begin_round(round, leaves);
    const std::optional<int64_t> leaf = mesh.leaf(round, leaves);
    const Batch batch = read(step, leaf);
    const Tensor targets = batch.targets.to(stream_);
    Routings routings;
    Tensor output;
    Rows rows = rows_of_round(batch, config_, mesh, *loader_, step, round, routings, stream_);
    rows.output = &output;
    if (config_.trained == "model")
      rows.noise = RouterNoise{static_cast<uint64_t>(config_.seed), step, batch.leaf};
    Tape tape;
    const Loss loss = model_.loss(model_.hidden(rows), targets, 1, config_.z_loss);
    tape.backward(config_.trained == "model" ? loss.total : prediction_loss(routings, 1));
  }

  const Config& config_;
  CpuEngine host_{1, Isa::avx2};  ///< reads tokens; nothing is computed
  MetaEngine engine_;
  const Stream stream_;
  const std::unique_ptr<Loader> loader_;
  Transformer model_;
  Shards shards_;
  AdamW optimizer_;
  std::vector<Tensor> waiting_;  ///< as large as micro-batches that the loader has read ahead
};

}  // namespace

ProductScratch product_scratch(const Config& config, int threads) {
  if (config.device != "cpu") return {};
  constexpr int64_t kSize = 1024;
  const Isa detected = config.isa == "auto" ? detect_isa() : parse_isa(config.isa);
  // Products of f32 have no level above; there the scratch of those that wait is that of a bf16 result.
  const Isa isa = config.compute_dtype() == DType::f32 ? std::min(detected, Isa::avx512) : detected;
  const auto besides_operands = [&](DType dtype, const auto& multiply) {
    CpuEngine engine(threads, isa);
    const Var a = Tensor::zeros({kSize, kSize}, dtype, engine.stream()),
              b = Tensor::zeros({kSize, kSize}, dtype, engine.stream()), c = multiply(a, b);
    const MemoryStatistics memory = engine.memory.statistics();
    return memory.peak_bytes - memory.live_bytes;
  };
  return {.plain = besides_operands(config.compute_dtype(),
                                    [](const Var& a, const Var& b) { return matmul_f32(a, b); }),
          .waiting = besides_operands(DType::bf16, [](const Var& a, const Var& b) { return matmul(a, b); })};
}

MemoryPlan plan_memory(const Config& config, const PlanOptions& options, Communicator& world) {
  CountedTraining training(config, options.scratch, world);
  for (int64_t step = 0; step < std::min(options.steps, config.steps); ++step) training.step(step);
  const MemoryByUse& at_peak = training.engine().at_peak();
  const auto of = [&](MemoryUse use) { return at_peak[static_cast<size_t>(use)]; };
  MemoryPlan plan{.parameters = of(MemoryUse::parameters),
                  .gradients = of(MemoryUse::gradients),
                  .moments = of(MemoryUse::moments),
                  .communication = of(MemoryUse::communication),
                  .activations = of(MemoryUse::activations),
                  .scratch = of(MemoryUse::scratch),
                  .program = options.program};
  const MemoryStatistics& memory = training.engine().statistics();
  plan.peak = memory.peak_bytes;
  plan.gaps = memory.held_bytes - memory.peak_bytes;
  plan.saving = std::min(config.save_buffer << 20, 3 * training.moments() / 2);
  return plan;
}

std::vector<MemoryPlan> plan_ranks(const Config& config, const PlanOptions& options, int ranks,
                                   Communicator& world) {
  std::vector<MemoryPlan> plans(static_cast<size_t>(ranks));
  if (ranks != world.size()) {
    run_ranks(ranks, [&](Communicator& imagined) {
      plans[static_cast<size_t>(imagined.rank())] = plan_memory(config, options, imagined);
    });
    return plans;
  }
  MemoryPlan own = plan_memory(config, options, world);
  const std::vector<std::string> all = all_gather_strings(world, to_json(own).dump());
  for (size_t rank = 0; rank < all.size(); ++rank) from_json(Json::parse(all[rank]), "rank", plans[rank]);
  return plans;
}

}  // namespace tessera
