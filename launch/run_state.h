#pragma once
// What a checkpoint of a run stores beside tensors.

#include <cstdint>
#include <string>

#include "data/shard.h"
#include "launch/config.h"
#include "layers/thresholds.h"
#include "runtime/isa.h"

namespace tessera {

/// The dataset that a model was trained on.
struct DataState {
  std::string fingerprint;
  int64_t image_codes = 0;
  int64_t text_pieces = 0;

  auto fields() {
    return std::tuple{Field{"fingerprint", fingerprint}, Field{"image_codes", image_codes},
                      Field{"text_pieces", text_pieces}};
  }
  Vocabulary vocabulary() const { return {image_codes, text_pieces}; }
};

struct RunState {
  Config config;
  std::string isa;
  DataState data;
  Thresholds thresholds;
  GuardState guard{};

  auto fields() {
    return std::tuple{Field{"config", config}, Field{"isa", isa}, Field{"data", data},
                      Field{"thresholds", thresholds}, Field{"guard", guard}};
  }
};

RunState run_state(const Config& config, const DatasetIndex& index, Isa isa, const Thresholds& thresholds,
                   const GuardState& guard);

/// The state and the number of steps that are done.
struct SavedRun {
  int64_t step = 0;
  RunState state;
};

/// From the manifest of a checkpoint.  Throws Error naming it, key and value when it is damaged, or made by a program with
/// other settings.
SavedRun read_saved_run(const std::string& checkpoint);

}  // namespace tessera
