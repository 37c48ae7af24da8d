#pragma once
// One training step of a shipped config on batches in memory: what launch/train.cpp does between two reports, without
// its files.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "benchmarks/matmul_race.h"
#include "data/batch.h"
#include "launch/config.h"
#include "layers/transformer.h"
#include "runtime/cpu_engine.h"

namespace tessera::benchmarks {

struct StepSetting {
  std::string config;  ///< name of a file in launch/configs, without .json
  int64_t length;  ///< tokens of a unit; its documents attend to each other, so this is what attention sees
  DType compute;
  int threads;
};

class TrainingStep {
 public:
  /// Makes synthetic data, half of it images, and runs a first step.  world has one rank and outlives the object.
  TrainingStep(const StepSetting& setting, Communicator& world);

  /// Forward, backward, gradient norm, AdamW.  Returns its seconds on clock_ns().
  double run();

  const StepSetting& setting() const { return setting_; }
  int64_t tokens() const { return tokens_; }
  int64_t flops() const { return flops_; }  ///< by the ledger
  /// How often each matrix product occurs in a step.
  const std::map<ProductCase, int64_t>& products() const { return products_; }
  double product_flops() const;  ///< of all of them

  Trace& trace() { return engine_.trace; }

 private:
  std::vector<Batch> read_batches();
  void micro_batch(size_t leaf);
  void count(const Rows& rows, const Ledger& ledger);

  StepSetting setting_;
  Config config_;
  CpuEngine engine_;
  Transformer model_;
  Shards shards_;
  AdamW optimizer_;
  float scale_ = 0;  ///< one over the targets of the step
  int64_t step_ = 0, tokens_ = 0, flops_ = 0;
  std::map<ProductCase, int64_t> products_;
  std::vector<Batch> batches_;
};

/// Calls body with a step of its own on a world of one rank.
void with_training_step(const StepSetting& setting, const std::function<void(TrainingStep&)>& body);

}  // namespace tessera::benchmarks
