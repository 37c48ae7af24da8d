#pragma once
// Every knob of `tessera train-image-tokenizer`, and what its checkpoints store beside tensors.

#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "layers/image_autoencoder.h"
#include "runtime/json.h"

namespace tessera {

struct ImageTokenizerConfig {
  std::string manifest;
  std::string out = "runs/image_tokenizer";
  double validation_share = 0.02;
  int64_t sample_images = 16384;
  int64_t steps = 1500;
  int64_t stop_at = 0;
  int64_t seed = 1;
  bool resume = true;
  int64_t save_every = 250;
  int64_t keep = 2;
  int64_t save_buffer = 256;
  std::string damaged_checkpoint = "refuse";
  std::string device = "cpu";
  std::string isa = "auto";
  int64_t threads = 0;
  int64_t thread_ranks = 1;
  int64_t micro_batches = 4;
  int64_t images = 8;
  int64_t revive_every = 20;
  double clip = 1;
  ImageAutoencoderConfig model;
  AdamWConfig adamw{.beta2 = 0.99f, .decay = 0.01f};
  ScheduleConfig schedule{.peak = 2e-3f, .warmup = 50};

  auto fields() {
    return std::tuple{
        Field{"manifest", manifest,
              "path of the JSON-lines manifest whose pictures are learned (data/manifest.h)"},
        Field{"out", out, "run folder: config, metrics, checkpoints"},
        Field{"validation_share", validation_share,
              "of the groups, for documents that name no split; as in prepare, whose held-out side they are",
              0, 1},
        Field{"sample_images", sample_images,
              "pictures to learn from, at most; they are kept in memory, image_side^2 * 3 bytes each", 1,
              1 << 24},
        Field{"steps", steps, "optimizer steps of the whole run", 1, 1e12},
        Field{"stop_at", stop_at,
              "save and stop when this many steps are done, the schedule unchanged; 0 = at the end", 0, 1e12},
        Field{"seed", seed, "of initial values, the order of pictures and the codes that start anew", 0,
              9e15},
        Field{"resume", resume,
              "continue from the latest checkpoint in out; false refuses a folder that has one"},
        Field{"save_every", save_every, "steps between checkpoints; the last step is always saved", 1, 1e12},
        Field{"keep", keep, "latest checkpoints to keep", 1, 1e6},
        Field{
            "save_buffer", save_buffer,
            "MiB of host memory of a rank for values on their way to a checkpoint while training goes on; it "
            "waits for what does not fit",
            1, 1 << 20},
        Field{
            "damaged_checkpoint", damaged_checkpoint,
            "one of refuse|set_aside: what to do when the checkpoint to continue from is damaged; set_aside "
            "renames it to damaged_step_N and takes the one before"},
        Field{"device", device, "one of cpu|cuda: where the model lives; cuda takes one GPU per rank"},
        Field{"isa", isa,
              "one of auto|avx2|avx512|avx512_bf16|amx: instruction-set level; auto = the least over all "
              "ranks"},
        Field{"threads", threads, "compute threads of a rank; 0 = cores / ranks on this machine", 0, 1024},
        Field{"thread_ranks", thread_ranks, "without mpirun: ranks as threads of this process", 1, 256},
        Field{"micro_batches", micro_batches,
              "micro-batches of a step over all ranks; at least as many as ranks", 1, 65536},
        Field{"images", images, "pictures of a micro-batch", 1, 65536},
        Field{"revive_every", revive_every,
              "steps after which codes that were never used in them start anew at encoder outputs", 1, 1e12},
        Field{"clip", clip, "largest Euclidean norm of the whole gradient", 1e-12, 1e12},
        Field{"model", model},
        Field{"adamw", adamw},
        Field{"schedule", schedule}};
  }
};

/// What a checkpoint of an image tokenizer stores beside tensors.
struct ImageTokenizerState {
  ImageTokenizerConfig config;
  std::string isa;
  std::string pictures;         ///< fingerprint of the pictures it learned from
  std::vector<int64_t> window;  ///< patches by code since the last step that revived codes

  auto fields() {
    return std::tuple{Field{"config", config}, Field{"isa", isa}, Field{"pictures", pictures},
                      Field{"window", window, "", 0}};
  }
};

/// The JSON that save_checkpoint takes.
Json to_checkpoint_state(ImageTokenizerState state);

struct SavedImageTokenizer {
  int64_t step = 0;
  ImageTokenizerState state;
};
/// From the manifest of a checkpoint.  Throws Error naming it when it is damaged or not of an image tokenizer.
SavedImageTokenizer read_saved_image_tokenizer(const std::string& checkpoint);

}  // namespace tessera
