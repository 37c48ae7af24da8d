#include "data/loader.h"

#include <algorithm>
#include <utility>

#include "runtime/cpu_engine.h"

namespace tessera {

Batch read_batch(const TokenDataset& dataset, std::span<const UnitRef> units, bool attend_across_documents,
                 Stream stream) {
  const TraceRange range(engine_of(stream).trace, "read_batch", Track::loader);
  TESSERA_CHECK(!units.empty(), "loader: a micro-batch has at least one unit");
  const int64_t length = dataset.length(), rows = std::ssize(units) * length;
  std::vector<int32_t> tokens, targets(static_cast<size_t>(rows)), positions;
  std::array<std::vector<int32_t>, kModalities> rows_of;
  Batch batch;
  for (size_t u = 0; u < units.size(); ++u) {
    const Unit unit = dataset.read(units[u]);
    const int64_t first_row = static_cast<int64_t>(u) * length;
    targets_of(unit, std::span(targets).subspan(static_cast<size_t>(first_row), static_cast<size_t>(length)));
    const PerModality& counts = dataset.target_counts(units[u]);
    for (size_t m = 0; m < kModalities; ++m) batch.target_counts[m] += counts[m];

    batch.units.push_back(first_row);
    size_t next_document = 0;
    for (int64_t row = 0, start = 0; row < length; ++row) {
      const bool begins_document =
          next_document < unit.documents.size() && unit.documents[next_document] == row;
      next_document += begins_document;
      if (row == 0 || (begins_document && !attend_across_documents)) {
        start = row;
        batch.segments.push_back(first_row + row);
      }
      positions.push_back(static_cast<int32_t>(row - start));
      const int32_t id = unit.tokens[static_cast<size_t>(row)];
      if (id != Vocabulary::kPad)
        rows_of[static_cast<size_t>(dataset.vocabulary().modality_of(id))].push_back(
            static_cast<int32_t>(first_row + row));
    }
    tokens.insert(tokens.end(), unit.tokens.begin(), unit.tokens.end());
  }
  batch.segments.push_back(rows);
  batch.units.push_back(rows);
  batch.tokens = Tensor::from(tokens, {rows}, stream);
  batch.targets = Tensor::from(targets, {rows}, stream);
  batch.positions = Tensor::from(positions, {rows}, stream);
  for (const std::vector<int32_t>& index : rows_of)
    batch.rows.push_back({Tensor::from(index, {std::ssize(index)}, stream), std::ssize(index)});
  return batch;
}

Batch empty_batch(Stream stream) {
  const Tensor none = Tensor::empty({0}, DType::i32, stream);
  return {.tokens = none,
          .targets = none,
          .positions = none,
          .segments = {0},
          .units = {0},
          .rows = std::vector<ModalityRows>(kModalities, {none, 0})};
}

Loader::Loader(TokenDataset dataset, LoaderConfig config, uint64_t seed, Stream stream)
    : dataset_(std::move(dataset)),
      config_(config),
      sampler_({dataset_.units(UnitKind::mixed), dataset_.units(UnitKind::text)},
               {config.mixed_units, config.text_units}, config.micro_batches, seed),
      stream_(stream) {}

Loader::~Loader() { stop(); }

StepPlan Loader::plan(int64_t step) const {
  StepPlan plan;
  plan.leaves = sampler_.leaves();
  for (int64_t leaf = 0; leaf < plan.leaves; ++leaf)
    for (int64_t slot = 0; slot < sampler_.slots(); ++slot) {
      const PerModality& counts = dataset_.target_counts(sampler_.at(step, leaf, slot));
      for (size_t m = 0; m < kModalities; ++m) plan.target_counts[m] += counts[m];
    }
  for (int64_t count : plan.target_counts) plan.target_count += count;
  return plan;
}

std::vector<PerModality> Loader::token_counts(int64_t step, int64_t leaf) const {
  std::vector<PerModality> counts;
  for (const UnitRef& unit : sampler_.micro_batch(step, leaf)) counts.push_back(dataset_.token_counts(unit));
  return counts;
}

void Loader::start(int64_t first_step, const LeafSequence& leaves) {
  TESSERA_CHECK(first_step >= 0 && leaves.first >= 0 && leaves.end <= sampler_.leaves() && leaves.stride >= 1,
                "loader: no leaves ", leaves.first, ", ", leaves.first + leaves.stride, ", ... below ",
                leaves.end, " from step ", first_step, " on");
  stop();
  ready_.clear();
  failure_ = nullptr;
  stopping_ = false;
  started_ = leaves.first < leaves.end;
  if (started_) thread_ = std::thread([this, first_step, leaves] { read_ahead(first_step, leaves); });
}

void Loader::stop() {
  {
    const std::lock_guard guard(lock_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Loader::read_ahead(int64_t first_step, LeafSequence leaves) {
  try {
    for (int64_t step = first_step;; ++step)
      for (int64_t leaf = leaves.first; leaf < leaves.end; leaf += leaves.stride) {
        Batch batch =
            read_batch(dataset_, sampler_.micro_batch(step, leaf), config_.attend_across_documents, stream_);
        batch.step = step;
        batch.leaf = leaf;
        std::unique_lock guard(lock_);
        changed_.wait(guard, [&] { return stopping_ || std::ssize(ready_) < config_.prefetch; });
        if (stopping_) return;
        ready_.push_back(std::move(batch));
        changed_.notify_all();
      }
  } catch (...) {
    const std::lock_guard guard(lock_);
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

Batch Loader::next() {
  TESSERA_CHECK(started_, "loader: this rank has no leaves, or start() was not called");
  std::unique_lock guard(lock_);
  changed_.wait(guard, [&] { return !ready_.empty() || failure_; });
  if (ready_.empty()) std::rethrow_exception(failure_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace tessera
