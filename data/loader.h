#pragma once
// Micro-batches, read ahead by a thread of the loader's own.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <tuple>

#include "data/batch.h"
#include "data/sampler.h"
#include "data/shard.h"
#include "runtime/fields.h"

namespace tessera {

struct LoaderConfig {
  int64_t micro_batches = 4;
  int64_t mixed_units = 4;
  int64_t text_units = 0;
  std::map<std::string, int64_t> source_weights = {};
  bool attend_across_documents = false;
  int64_t prefetch = 2;

  auto fields() {
    return std::tuple{
        Field{"micro_batches", micro_batches, "micro-batches of a step, over all ranks", 1, 1 << 20},
        Field{"mixed_units", mixed_units, "units with images in each micro-batch", 0, 1 << 16},
        Field{"text_units", text_units, "units of text alone in each micro-batch", 0, 1 << 16},
        Field{"source_weights", source_weights,
              "by source of the dataset, all of them: its share of the micro-batches' units of each kind is "
              "weight / sum of weights; none named: the units of all sources in one order",
              0, 1e6},
        Field{"attend_across_documents", attend_across_documents,
              "packed documents see those before them in the unit, and positions run on"},
        Field{"prefetch", prefetch, "micro-batches that wait ready", 1, 1024}};
  }
};

/// What every rank knows of a step before it reads a token of it.
struct StepPlan {
  int64_t leaves = 0;
  int64_t target_count = 0;     ///< scored targets of the whole step, the divisor of its loss
  PerModality target_counts{};  ///< the same by modality of the target
};

/// Packs units into a micro-batch on a stream of the CPU.  Throws Error when there is none, or a read fails.
Batch read_batch(const TokenDataset& dataset, std::span<const UnitRef> units, bool attend_across_documents,
                 Stream stream);

/// Leaves first, first + stride, ... below end.
struct LeafSequence {
  int64_t first = 0, end = 0, stride = 1;
};

/// A micro-batch of no rows.
Batch empty_batch(Stream stream);

class Loader {
 public:
  /// Throws Error when the dataset lacks the units that config asks for, or config.source_weights does not name its
  /// sources.
  Loader(TokenDataset dataset, LoaderConfig config, uint64_t seed, Stream stream);
  ~Loader();  ///< stops and joins the thread
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const TokenDataset& dataset() const { return dataset_; }
  const Sampler& sampler() const { return sampler_; }

  /// Table look-ups only; the same on every rank.
  StepPlan plan(int64_t step) const;
  /// Text and image tokens of a leaf's units, without padding.
  std::vector<PerModality> token_counts(int64_t step, int64_t leaf) const;

  /// How often the units have been seen when the first `steps` steps are done: by "mixed" and "text", or, with
  /// config.source_weights, by "mixed/SOURCE" and "text/SOURCE".
  std::map<std::string, double> passes(int64_t steps) const;

  /// Starts (or starts again) reading some leaves of every step from first_step on.
  void start(int64_t first_step, const LeafSequence& leaves);
  /// The next of these leaves, in order of (step, leaf).  Waits for it; rethrows what went wrong while reading it.  Throws Error
  /// when there are none.
  Batch next();

 private:
  void read_ahead(int64_t first_step, LeafSequence leaves);
  void stop();

  TokenDataset dataset_;
  LoaderConfig config_;
  Sampler sampler_;
  Stream stream_;

  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;     ///< guarded by lock_
  std::exception_ptr failure_;  ///< guarded by lock_
  bool stopping_ = false;       ///< guarded by lock_
  bool started_ = false;
  std::thread thread_;
};

}  // namespace tessera
