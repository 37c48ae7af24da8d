#pragma once
// One training step of a shipped config on batches in memory: what launch/train.cpp does between two reports, without
// its files.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "benchmarks/matmul_race.h"
#include "data/batch.h"
#include "data/loader.h"
#include "launch/config.h"
#include "launch/footprint.h"
#include "layers/transformer.h"
#include "runtime/cpu_engine.h"
#include "tests/data/temporary_folder.h"

namespace tessera::benchmarks {

struct StepSetting {
  std::string config;  ///< name of a file in launch/configs, without .json
  int64_t length;  ///< tokens of a unit; its documents attend to each other, so this is what attention sees
  DType compute;
  int threads;
  std::vector<std::string> settings{};  ///< of the config, as on the command line: "mesh.expert=2"
};

Config config_of(const StepSetting& setting);
/// A dataset that fits the setting, half of it images.
void write_dataset_for(const StepSetting& setting, const std::string& folder);

class TrainingStep {
 public:
  /// Makes synthetic data and runs a first step.  Collective; world outlives the object.
  TrainingStep(const StepSetting& setting, Communicator& world);

  /// Forward, backward, gradient norm, AdamW.  Collective.  Returns this rank's seconds on clock_ns().
  double run();

  const StepSetting& setting() const { return setting_; }
  const Config& config() const { return config_; }
  Layout layout() const;
  /// The tokens of every micro-batch of the step, of all ranks.
  const std::vector<PoolTokens>& leaves() const { return leaves_; }
  std::vector<ShardPiece> pieces() const { return shards_.pieces(); }
  int64_t tokens() const;                   ///< of all ranks
  int64_t flops() const { return flops_; }  ///< of this rank, by the ledger
  int64_t attention_flops() const { return attention_flops_; }
  /// How often each matrix product occurs in a step; only of a world of one rank.
  const std::map<ProductCase, int64_t>& products() const { return products_; }
  double product_flops() const;  ///< of all of them

  Stream stream() { return engine_.stream(); }
  Trace& trace() { return engine_.trace; }
  MemoryStatistics memory() const { return engine_.memory.statistics(); }

 private:
  Loader open_loader();
  void read_batches();
  void micro_batch(int64_t round);
  void count_products(const Rows& rows, const Ledger& ledger);

  StepSetting setting_;
  Config config_;
  CpuEngine engine_;
  std::unique_ptr<Communicator> world_;
  Transformer model_;
  Shards shards_;
  AdamW optimizer_;
  TemporaryFolder folder_;
  Loader loader_;
  std::vector<PoolTokens> leaves_;
  std::vector<Batch> batches_;  ///< of this rank, by round
  float scale_ = 0;             ///< one over the targets of the step
  int64_t step_ = 0, flops_ = 0, attention_flops_ = 0;
  std::map<ProductCase, int64_t> products_;
};

/// Calls body with a step of its own on a world of one rank.
void with_training_step(const StepSetting& setting, const std::function<void(TrainingStep&)>& body);

}  // namespace tessera::benchmarks
