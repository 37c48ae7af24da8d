#include "data/loader.h"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <set>
#include <utility>

#include "runtime/cpu_engine.h"

namespace tessera {

namespace {

/// What a row is to the lists of rows: a modality, or kModalities for padding.
uint8_t class_of(int32_t id, uint32_t image_codes) {
  const uint32_t code = static_cast<uint32_t>(id) - static_cast<uint32_t>(Vocabulary::kFirstImage);
  return static_cast<uint8_t>((code < image_codes) + kModalities * (id == Vocabulary::kPad));
}

/// The classes of the rows of a unit, and where runs of one class end: eight rows at a time, without branches inside.
class RowClasses {
 public:
  RowClasses(std::span<const int32_t> tokens, const Vocabulary& vocabulary)
      : classes_(tokens.size() + sizeof(uint64_t), kNone) {
    const auto image_codes = static_cast<uint32_t>(vocabulary.image_codes);
    for (size_t row = 0; row < tokens.size(); ++row) classes_[row] = class_of(tokens[row], image_codes);
  }

  uint8_t operator[](size_t row) const { return classes_[row]; }
  size_t end_of_run(size_t begin) const {
    const uint64_t same = classes_[begin] * uint64_t{0x0101010101010101};
    for (size_t row = begin;; row += sizeof(uint64_t)) {
      uint64_t eight;
      std::memcpy(&eight, &classes_[row], sizeof eight);
      if (const uint64_t others = eight ^ same)
        return row + static_cast<size_t>(std::countr_zero(others)) / 8;
    }
  }

 private:
  static constexpr uint8_t kNone = 0xff;  ///< after the last row, so that every run ends
  std::vector<uint8_t> classes_;
};

/// The lists of rows of a batch under construction.
class RowLists {
 public:
  RowLists(const TokenDataset& dataset, std::span<const UnitRef> units, Stream stream) : dataset_(dataset) {
    PerModality counts{};
    for (const UnitRef unit : units)
      for (size_t m = 0; m < kModalities; ++m) counts[m] += dataset.token_counts(unit)[m];
    for (const int64_t count : counts) lists_.push_back({Tensor::empty({count}, DType::i32, stream), count});
  }

  void add(UnitRef unit, std::span<const int32_t> tokens, int64_t first_row) {
    const RowClasses classes(tokens, dataset_.vocabulary());
    PerModality left = dataset_.token_counts(unit);
    for (size_t begin = 0; begin < tokens.size();) {
      const size_t end = classes.end_of_run(begin), m = classes[begin];
      if (m < kModalities) {
        if ((left[m] -= static_cast<int64_t>(end - begin)) < 0) break;
        const auto rows = lists_[m].index.values<int32_t>().subspan(filled_[m], end - begin);
        std::iota(rows.begin(), rows.end(), static_cast<int32_t>(first_row + static_cast<int64_t>(begin)));
        filled_[m] += rows.size();
      }
      begin = end;
    }
    TESSERA_CHECK(left == PerModality{}, "dataset: ", dataset_.folder(), ": /token_counts of unit ", unit,
                  " are not those of its /tokens");
  }

  std::vector<ModalityRows> take() { return std::move(lists_); }

 private:
  const TokenDataset& dataset_;
  std::vector<ModalityRows> lists_;
  std::array<size_t, kModalities> filled_{};
};

}  // namespace

Batch read_batch(const TokenDataset& dataset, std::span<const UnitRef> units, bool attend_across_documents,
                 Stream stream) {
  const TraceRange range(engine_of(stream).trace, "read_batch", Track::loader);
  TESSERA_CHECK(!units.empty(), "loader: a micro-batch has at least one unit");
  const int64_t length = dataset.length(), rows = std::ssize(units) * length;
  Batch batch;
  for (Tensor* tensor : {&batch.tokens, &batch.targets, &batch.positions})
    *tensor = Tensor::empty({rows}, DType::i32, stream);
  RowLists lists(dataset, units, stream);
  for (int64_t first_row = 0; const UnitRef unit : units) {
    const auto part = [&](const Tensor& tensor) {
      return tensor.values<int32_t>().subspan(static_cast<size_t>(first_row), static_cast<size_t>(length));
    };
    const std::span<int32_t> tokens = part(batch.tokens), positions = part(batch.positions);
    const std::span<const int32_t> documents = dataset.documents(unit);
    dataset.read_tokens(unit, tokens);
    targets_of(tokens, documents, part(batch.targets));
    lists.add(unit, tokens, first_row);
    for (size_t m = 0; m < kModalities; ++m) batch.target_counts[m] += dataset.target_counts(unit)[m];

    batch.units.push_back(first_row);
    const size_t segments = attend_across_documents ? 1 : documents.size();
    for (size_t s = 0; s < segments; ++s) {
      const auto begin = positions.begin() + documents[s];
      batch.segments.push_back(first_row + documents[s]);
      std::iota(begin, s + 1 < segments ? positions.begin() + documents[s + 1] : positions.end(), 0);
    }
    first_row += length;
  }
  batch.segments.push_back(rows);
  batch.units.push_back(rows);
  batch.rows = lists.take();
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

namespace {

/// One pool per source, or one of all units where no weights are given.
PoolsPerKind pools_of(const TokenDataset& dataset, const LoaderConfig& config) {
  PoolsPerKind pools;
  std::set<std::string> unknown;
  for (const auto& [source, weight] : config.source_weights) unknown.insert(source);
  for (const UnitKind kind : {UnitKind::mixed, UnitKind::text}) {
    std::vector<UnitPool>& of_kind = pools[static_cast<size_t>(kind)];
    if (config.source_weights.empty()) {
      of_kind = {{0, dataset.units(kind), 1}};
      continue;
    }
    for (const SourceUnits& source : dataset.sources(kind)) {
      const auto weight = config.source_weights.find(source.source);
      TESSERA_CHECK(weight != config.source_weights.end(),
                    "loader.source_weights: gives no weight to source \"", source.source, "\" of ",
                    dataset.folder());
      of_kind.push_back({source.first, source.units, weight->second});
      unknown.erase(source.source);
    }
  }
  TESSERA_CHECK(unknown.empty(), "loader.source_weights: ", dataset.folder(), " has no source \"",
                *unknown.begin(), "\"");
  return pools;
}

}  // namespace

Loader::Loader(TokenDataset dataset, LoaderConfig config, uint64_t seed, Stream stream)
    : dataset_(std::move(dataset)),
      config_(std::move(config)),
      sampler_(pools_of(dataset_, config_), {config_.mixed_units, config_.text_units}, config_.micro_batches,
               seed),
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

std::map<std::string, double> Loader::passes(int64_t steps) const {
  std::map<std::string, double> passes;
  for (const UnitKind kind : {UnitKind::mixed, UnitKind::text}) {
    if ((kind == UnitKind::mixed ? config_.mixed_units : config_.text_units) == 0) continue;
    if (config_.source_weights.empty()) {
      passes[name_of(kind)] = sampler_.passes(kind, 0, steps);
      continue;
    }
    for (size_t pool = 0; const SourceUnits& source : dataset_.sources(kind))
      passes[str(name_of(kind), "/", source.source)] = sampler_.passes(kind, pool++, steps);
  }
  return passes;
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

namespace {

/// Blocks that this thread has had read from disks.
int64_t blocks_read() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_inblock;
}

}  // namespace

void Loader::read_ahead(int64_t first_step, LeafSequence leaves) {
  bool from_disk = true;  // the last micro-batch, at least a part of it
  try {
    for (int64_t step = first_step;; ++step)
      for (int64_t leaf = leaves.first; leaf < leaves.end; leaf += leaves.stride) {
        const std::vector<UnitRef> units = sampler_.micro_batch(step, leaf);
        // Asking costs as much as reading what is in memory, so it is left out while nothing comes from the disk.
        const int64_t blocks = blocks_read();
        if (from_disk) dataset_.will_need(units);
        Batch batch = read_batch(dataset_, units, config_.attend_across_documents, stream_);
        from_disk = blocks_read() > blocks;
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
