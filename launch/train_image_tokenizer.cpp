#include "launch/train_image_tokenizer.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "data/fingerprint.h"
#include "launch/clip_scale.h"
#include "launch/engines.h"
#include "launch/image_tokenizer_run.h"
#include "launch/patches.h"
#include "launch/picture_sides.h"
#include "launch/statistics.h"
#include "parallel/agree.h"
#include "parallel/collectives.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr Purpose kOrder("order of pictures");

/// The pictures of a run, the same on every rank.
class Pictures {
 public:
  /// Collective.
  Pictures(const ImageTokenizerConfig& config, ThreadPool& pool, Communicator& world) : config_(config) {
    agree(world, [&] {
      check(config.model);
      TESSERA_CHECK(!config.manifest.empty(), "train-image-tokenizer: manifest is not set");
      TESSERA_CHECK(world.size() <= config.micro_batches, "micro_batches: ", world.size(),
                    " ranks need at least as many, got ", config.micro_batches);
      const PictureSides sides = read_picture_sides(config.manifest, config.validation_share, seed());
      images_ = load_pictures(sides.train, config.sample_images, config.model.image_side, seed(), pool);
    });
  }

  std::string fingerprint() const {
    Fingerprint fingerprint;
    for (const Image& image : images_)
      fingerprint.add({reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()});
    return fingerprint.hex();
  }

  /// Of a micro-batch.  Every epoch is a permutation of its own.
  Tensor patches(int64_t step, int64_t leaf, Stream stream) const {
    std::vector<Image> batch;
    for (int64_t slot = 0; slot < config_.images; ++slot) {
      const auto drawn = static_cast<uint64_t>((step * config_.micro_batches + leaf) * config_.images + slot);
      const uint64_t epoch_seed = random_u64(seed(), kOrder, drawn / images_.size());
      batch.push_back(
          images_[random_permutation(epoch_seed, kOrder, images_.size(), drawn % images_.size())]);
    }
    return patches_of(batch, config_.model.patch_side, stream);
  }

 private:
  uint64_t seed() const { return static_cast<uint64_t>(config_.seed); }

  const ImageTokenizerConfig& config_;
  std::vector<Image> images_;
};

/// What the micro-batches of a step gave, from all ranks.
class StepSums {
 public:
  StepSums(const ImageTokenizerConfig& config, const Mesh& mesh) : config_(config), mesh_(mesh) {}

  void add(const Autoencoded& result) {
    std::vector<double> numbers(kCounts + static_cast<size_t>(config_.model.codes), 0.0);
    numbers[kLoss] = static_cast<double>(result.loss.value().to_vector<float>()[0]);
    for (float error : result.pixel_error.to_vector<float>())
      numbers[kPixelError] += static_cast<double>(error);
    for (int32_t code : result.quantised.codes.to_vector<int32_t>())
      numbers[kCounts + static_cast<size_t>(code)] += 1;
    leaves_.push_back(std::move(numbers));
    encoded_.push_back(result.quantised.encoded.to_vector<float>());
    errors_.push_back(result.quantised.code_error.to_vector<float>());
  }

  /// Collective.  counts: patches of the step by code.
  ImageTokenizerStep total(std::vector<int64_t>& counts) {
    const size_t width = kCounts + static_cast<size_t>(config_.model.codes);
    const std::vector<double> sums = sum_over_leaves(leaves_, config_.micro_batches, width, mesh_);
    counts.clear();
    for (size_t code = kCounts; code < width; ++code) counts.push_back(static_cast<int64_t>(sums[code]));
    const double values = static_cast<double>(config_.micro_batches * config_.images *
                                              config_.model.patches() * config_.model.patch_values());
    ImageTokenizerStep measured;
    measured.loss = sums[kLoss];
    measured.mse = sums[kPixelError] / values * kLevelsPerUnit * kLevelsPerUnit;
    measured.usage = usage_of(counts);
    return measured;
  }

  /// Collective: the encoder outputs in order of the leaves.
  EncodedRows encoded() const {
    return {config_.model.code_width, in_order(encoded_, config_.model.code_width), in_order(errors_, 1)};
  }

 private:
  enum Column : size_t { kLoss, kPixelError, kCounts };

  /// Leaf l is entry l / ranks of rank l % ranks; width numbers for each of its rows.
  std::vector<float> in_order(const std::vector<std::vector<float>>& mine, int64_t width) const {
    const int64_t ranks = mesh_.world().size(), rounds = (config_.micro_batches + ranks - 1) / ranks;
    const int64_t leaf_size = config_.images * config_.model.patches() * width;
    std::vector<float> own;
    for (const std::vector<float>& leaf : mine) own.insert(own.end(), leaf.begin(), leaf.end());
    own.resize(static_cast<size_t>(rounds * leaf_size));  // ranks without a leaf in the last round send zeros
    const std::vector<std::byte> all = all_gather_bytes(mesh_.world(), std::as_bytes(std::span(own)));
    std::vector<float> ordered(static_cast<size_t>(config_.micro_batches * leaf_size));
    for (int64_t leaf = 0; leaf < config_.micro_batches; ++leaf) {
      const int64_t from = (leaf % ranks * rounds + leaf / ranks) * leaf_size;
      std::memcpy(ordered.data() + leaf * leaf_size, all.data() + static_cast<size_t>(from) * sizeof(float),
                  static_cast<size_t>(leaf_size) * sizeof(float));
    }
    return ordered;
  }

  const ImageTokenizerConfig& config_;
  const Mesh& mesh_;
  std::vector<std::vector<double>> leaves_;
  std::vector<std::vector<float>> encoded_, errors_;
};

}  // namespace

int train_image_tokenizer(const ImageTokenizerConfig& config, Communicator& world) {
  Engines engines(world, {config.device, config.threads, config.isa});
  const Stream stream = engines.stream();
  const auto seed = static_cast<uint64_t>(config.seed);
  const Pictures pictures(config, engine_of(engines.host()).pool, world);
  ImageAutoencoder model(config.model);
  Shards shards =
      shard(model, Mesh(engines.ranks()), stream, {DType::f32, false}, seed, config.model.deviation);
  AdamW optimizer = adamw_over(shards.pieces(), config.adamw);
  ImageTokenizerRun run(config, {shards.pieces(), &optimizer}, pictures.fingerprint(), engines, world);
  const PatchRows rows(config.images, config.model.patches(), stream);
  const int64_t leaves = config.micro_batches;
  const float scale = 1.0f / static_cast<float>(leaves * config.images * config.model.patches());

  bool running = run.first_step() < run.last_step();
  for (int64_t step = run.first_step(); running; ++step) {
    StepSums sums(config, shards.mesh());
    for (int64_t first = 0; first < leaves; first += world.size()) {  // a round: one micro-batch per rank
      shards.begin_round(first / world.size(), leaves);
      if (first + world.rank() >= leaves) {
        shards.idle_round();
        continue;
      }
      const Tensor patches = pictures.patches(step, first + world.rank(), stream);
      Tape tape;
      const Autoencoded result = model(patches, rows, scale);
      tape.backward(result.loss);
      sums.add(result);
    }
    shards.finish_step();

    std::vector<int64_t> counts;
    ImageTokenizerStep measured = sums.total(counts);
    measured.gradient_norm = shards.gradient_norm();
    measured.learning_rate = learning_rate(config.schedule, step, config.steps);
    measured.clip_scale = clip_scale(measured.gradient_norm, config.clip, step);
    optimizer.step(step, static_cast<float>(measured.learning_rate), static_cast<float>(measured.clip_scale));

    std::vector<int64_t>& window = run.window();
    std::ranges::transform(window, counts, window.begin(), std::plus<>());
    if ((step + 1) % config.revive_every == 0) {
      measured.revived = revive_codes(window, sums.encoded(), step, seed, model.quantiser.layer.codebook.name,
                                      shards.pieces(), optimizer);
      std::ranges::fill(window, 0);
    }
    shards.stepped();
    running = run.finish_step(step, measured);
  }
  return run.exit_code();
}

}  // namespace tessera
