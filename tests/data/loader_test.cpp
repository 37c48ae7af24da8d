#include "data/loader.h"

#include <gtest/gtest.h>

#include <map>

#include "data/synthetic.h"
#include "runtime/cpu_engine.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

using Rows = std::vector<int32_t>;

Rows rows_of(const Tensor& tensor) {
  const auto values = tensor.values<int32_t>();
  return {values.begin(), values.end()};
}

class LoaderTest : public ::testing::Test {
 protected:
  void SetUp() override { write_synthetic_dataset(folder_ / "set", 3); }
  TokenDataset dataset(const std::string& split = "train") const { return {folder_ / "set", split}; }
  LoaderConfig config_{.micro_batches = 3, .mixed_units = 2, .text_units = 1};
  static constexpr LeafSequence kAll{0, 3, 1};

  /// 5 mixed units of books, 7 of the web, 3 units of text of the web; written in turns.
  void write_two_sources() const {
    const TokenDataset from = dataset();
    DatasetIndex index = from.index();
    index.shards.clear();
    index.counts.clear();
    std::filesystem::create_directories(folder_ / "two");
    DatasetWriter writer(folder_ / "two", index, 1 << 20);
    const auto write = [&](const std::string& source, UnitKind kind, int64_t first, int64_t end) {
      std::vector<Unit> units;
      for (int64_t unit = first; unit < end; ++unit) units.push_back(from.read({kind, unit}));
      writer.write("train", source, kind, units);
    };
    write("books", UnitKind::mixed, 0, 2);
    write("web", UnitKind::mixed, 2, 9);
    write("books", UnitKind::mixed, 9, 12);
    write("web", UnitKind::text, 0, 3);
    writer.finish();
  }

  TemporaryFolder folder_;
  CpuEngine engine_{1};
};

TEST_F(LoaderTest, BatchFollowsFromTheUnits) {
  const TokenDataset set = dataset();
  const std::vector<UnitRef> units{{UnitKind::mixed, 5}, {UnitKind::text, 1}};
  const Batch batch = read_batch(set, units, false, engine_.stream());
  const Rows tokens = rows_of(batch.tokens), targets = rows_of(batch.targets),
             positions = rows_of(batch.positions);
  ASSERT_EQ(std::ssize(tokens), 2 * set.length());
  EXPECT_EQ(batch.units, (std::vector<int64_t>{0, 64, 128}));
  EXPECT_EQ(batch.segments.front(), 0);
  EXPECT_EQ(batch.segments.back(), 128);
  PerModality scored{};
  Rows text, image;
  for (size_t s = 0; s + 1 < batch.segments.size(); ++s)
    for (int64_t row = batch.segments[s]; row < batch.segments[s + 1]; ++row) {
      const auto r = static_cast<size_t>(row);
      EXPECT_EQ(positions[r], row - batch.segments[s]);
      const bool is_last = row + 1 == batch.segments[s + 1];
      EXPECT_EQ(targets[r], is_last || tokens[r] == Vocabulary::kPad ? -1 : tokens[r + 1]);
      if (targets[r] >= 0) ++scored[static_cast<size_t>(set.vocabulary().modality_of(targets[r]))];
      if (tokens[r] == Vocabulary::kPad) continue;
      (set.vocabulary().modality_of(tokens[r]) == Modality::image ? image : text)
          .push_back(static_cast<int32_t>(row));
    }
  EXPECT_EQ(image.size(), 32u);  // two images of 16 codes
  EXPECT_EQ(rows_of(batch.rows[0].index), text);
  EXPECT_EQ(rows_of(batch.rows[1].index), image);
  EXPECT_EQ(batch.rows[1].count, std::ssize(image));
  EXPECT_EQ(batch.target_counts, scored);
  PerModality tokens_of{};
  for (const UnitRef unit : units)
    for (size_t m = 0; m < kModalities; ++m) tokens_of[m] += set.token_counts(unit)[m];
  EXPECT_EQ(tokens_of, (PerModality{batch.rows[0].count, batch.rows[1].count}));
}

TEST_F(LoaderTest, ATextBatchHasNoImageRows) {
  const Batch batch =
      read_batch(dataset(), std::vector<UnitRef>{{UnitKind::text, 0}}, false, engine_.stream());
  EXPECT_EQ(batch.rows[1].count, 0);
  EXPECT_EQ(batch.rows[1].index.count(), 0);
  EXPECT_EQ(batch.target_counts[1], 0);
}

TEST_F(LoaderTest, AttentionAcrossDocumentsMakesUnitsSegments) {
  const std::vector<UnitRef> units{{UnitKind::mixed, 0}, {UnitKind::mixed, 1}};
  const Batch inside = read_batch(dataset(), units, false, engine_.stream());
  const Batch across = read_batch(dataset(), units, true, engine_.stream());
  EXPECT_EQ(across.segments, across.units);
  EXPECT_EQ(rows_of(across.positions)[63], 63);
  EXPECT_EQ(rows_of(across.targets), rows_of(inside.targets));
}

TEST_F(LoaderTest, PlanEqualsWhatTheBatchesHold) {
  Loader loader(dataset(), config_, 9, engine_.stream());
  loader.start(0, kAll);
  for (int64_t step = 0; step < 4; ++step) {
    PerModality scored{};
    for (int64_t leaf = 0; leaf < 3; ++leaf) {
      const Batch batch = loader.next();
      EXPECT_EQ(batch.step, step);
      EXPECT_EQ(batch.leaf, leaf);
      for (size_t m = 0; m < kModalities; ++m) scored[m] += batch.target_counts[m];
    }
    EXPECT_EQ(loader.plan(step).target_counts, scored);
    EXPECT_EQ(loader.plan(step).target_count, scored[0] + scored[1]);
  }
}

TEST_F(LoaderTest, RanksTogetherReadWhatOneRankReads) {
  const auto read = [&](int rank, int ranks, int64_t first_step, int64_t steps) {
    Loader loader(dataset(), config_, 9, engine_.stream());
    loader.start(first_step, {rank, 3, ranks});
    std::map<std::pair<int64_t, int64_t>, Rows> batches;
    for (int64_t step = 0; step < steps; ++step)
      for (int64_t leaf = rank; leaf < 3; leaf += ranks) {
        const Batch batch = loader.next();
        batches[{batch.step, batch.leaf}] = rows_of(batch.tokens);
      }
    return batches;
  };
  const auto whole = read(0, 1, 0, 6);
  auto parts = read(0, 2, 0, 6);
  parts.merge(read(1, 2, 0, 6));
  EXPECT_EQ(whole, parts);
  for (const auto& [key, tokens] : read(0, 1, 4, 2)) EXPECT_EQ(whole.at(key), tokens) << "resumed at step 4";
}

TEST_F(LoaderTest, StartsAgainAndStopsWithFullQueue) {
  Loader loader(dataset(), config_, 9, engine_.stream());
  loader.start(0, kAll);
  const Rows first = rows_of(loader.next().tokens);
  loader.start(0, kAll);
  EXPECT_EQ(rows_of(loader.next().tokens), first);
}

TEST_F(LoaderTest, RanksWithoutLeavesMayNotAsk) {
  Loader loader(dataset(), config_, 9, engine_.stream());
  loader.start(0, {3, 3, 4});
  EXPECT_EQ(message_of([&] { loader.next(); }), "loader: this rank has no leaves, or start() was not called");
}

TEST_F(LoaderTest, EveryMicroBatchOfEveryRankHasTheSameImageTokens) {
  for (const auto& [mixed, text] : {std::pair{2, 1}, {1, 4}, {3, 0}, {0, 3}})
    for (int ranks : {1, 2, 3})
      for (int rank = 0; rank < ranks; ++rank) {
        Loader loader(dataset(), {.micro_batches = 3, .mixed_units = mixed, .text_units = text}, 9,
                      engine_.stream());
        loader.start(0, {rank, 3, ranks});
        for (int reads = 0; reads < 6; ++reads)
          EXPECT_EQ(loader.next().rows[1].count, mixed * 32) << "two images of 16 codes in a unit";
      }
}

TEST_F(LoaderTest, ReadsOnFromAnyStepOnAnyRanks) {
  write_two_sources();
  config_.source_weights = {{"books", 1}, {"web", 2}};
  const auto read = [&](int64_t first_step, int rank, int ranks, int64_t steps) {
    Loader loader({folder_ / "two", "train"}, config_, 9, engine_.stream());
    loader.start(first_step, {rank, 3, ranks});
    std::map<std::pair<int64_t, int64_t>, Rows> batches;
    for (int64_t i = 0; i < steps * (3 / ranks + (rank < 3 % ranks)); ++i) {
      const Batch batch = loader.next();
      batches[{batch.step, batch.leaf}] = rows_of(batch.tokens);
    }
    return batches;
  };
  const auto whole = read(0, 0, 1, 12);
  for (int64_t first_step : {1, 5, 11})
    for (int ranks : {1, 2, 3}) {
      auto resumed = read(first_step, 0, ranks, 12 - first_step);
      for (int rank = 1; rank < ranks; ++rank) resumed.merge(read(first_step, rank, ranks, 12 - first_step));
      EXPECT_TRUE(std::equal(resumed.begin(), resumed.end(), whole.find({first_step, 0}), whole.end()));
    }
}

TEST_F(LoaderTest, WeightsDealTheUnitsOfEachKindToSources) {
  write_two_sources();
  const TokenDataset set(folder_ / "two", "train");
  config_.source_weights = {{"books", 1}, {"web", 3}};
  const Loader loader(set, config_, 9, engine_.stream());
  const SourceUnits& books = set.sources(UnitKind::mixed).at(0);
  EXPECT_EQ(books.source, "books");
  int64_t of_books = 0;
  for (int64_t step = 0; step < 20; ++step)
    for (int64_t leaf = 0; leaf < 3; ++leaf)
      for (const UnitRef ref : loader.sampler().micro_batch(step, leaf))
        of_books += ref.kind == UnitKind::mixed && ref.unit < books.first + books.units;
  EXPECT_EQ(of_books, 30) << "a quarter of 20 steps of 3 leaves of 2 slots";
  // All text is of the web: its weight does not matter there.
  EXPECT_EQ(loader.passes(20),
            (std::map<std::string, double>{
                {"mixed/books", 30.0 / 5}, {"mixed/web", 90.0 / 7}, {"text/web", 60.0 / 3}}));
  config_.source_weights = {};
  EXPECT_EQ(Loader(set, config_, 9, engine_.stream()).passes(20),
            (std::map<std::string, double>{{"mixed", 120.0 / 12}, {"text", 60.0 / 3}}));
}

TEST_F(LoaderTest, RefusesWeightsThatAreNotThoseOfTheSources) {
  write_two_sources();
  const auto refusal = [&](const std::map<std::string, int64_t>& weights) {
    config_.source_weights = weights;
    return message_of([&] { Loader({folder_ / "two", "train"}, config_, 9, engine_.stream()); });
  };
  EXPECT_EQ(refusal({{"web", 1}}),
            "loader.source_weights: gives no weight to source \"books\" of " + folder_ / "two");
  EXPECT_EQ(refusal({{"books", 1}, {"web", 1}, {"wbe", 1}}),
            "loader.source_weights: " + folder_ / "two" + " has no source \"wbe\"");
  EXPECT_EQ(refusal({{"books", 1}, {"web", 0}}),
            "sampler: micro-batches ask for 1 text units each, but no source with a weight has any");
}

TEST_F(LoaderTest, AReadThatFailsReachesTheConsumer) {
  const std::string shard = folder_ / "set/train-mixed-00000.h5";
  Loader loader(dataset(), {.micro_batches = 1, .mixed_units = 64}, 9, engine_.stream());
  std::fstream file(shard,
                    std::ios::in | std::ios::out | std::ios::binary);  // behind the back of the open file
  file << std::string(std::filesystem::file_size(shard), '\xff') << std::flush;
  loader.start(0, {0, 1, 1});
  const std::string message = message_of([&] { loader.next(); });
  EXPECT_TRUE(message.starts_with("dataset: " + shard + ": /tokens[")) << message;
  EXPECT_NE(message.find("] is damaged: its checksum is "), std::string::npos) << message;
}

}  // namespace
}  // namespace tessera
