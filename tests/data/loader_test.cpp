#include "data/loader.h"

#include <gtest/gtest.h>

#include <set>

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

TEST(Sampler, AnEpochVisitsEveryUnitOnce) {
  const Sampler sampler({10, 7}, {2, 1}, 5,
                        42);  // a step takes all 10 mixed units, and 5 of the 7 text units
  for (int64_t step = 0; step < 3; ++step) {
    std::set<int64_t> seen;
    for (int64_t leaf = 0; leaf < 5; ++leaf)
      for (const UnitRef ref : sampler.micro_batch(step, leaf))
        if (ref.kind == UnitKind::mixed) seen.insert(ref.unit);
    EXPECT_EQ(seen.size(), 10u);
  }
  std::vector<int64_t> text;
  for (int64_t step = 0; step < 7; ++step)
    for (int64_t leaf = 0; leaf < 5; ++leaf) text.push_back(sampler.at(step, leaf, 2).unit);
  for (size_t epoch = 0; epoch < 5; ++epoch)
    EXPECT_EQ(std::set(text.begin() + int64_t(epoch) * 7, text.begin() + int64_t(epoch + 1) * 7).size(), 7u);
  EXPECT_FALSE(std::equal(text.begin(), text.begin() + 7, text.begin() + 7)) << "epochs have the same order";
  EXPECT_EQ(sampler.passes(UnitKind::mixed, 3), 3.0);
  EXPECT_EQ(sampler.passes(UnitKind::text, 7), 5.0);
}

TEST(Sampler, EveryMicroBatchHoldsTheRatio) {
  const Sampler sampler({10, 7}, {2, 3}, 2, 1);
  for (int64_t step = 0; step < 9; ++step)
    for (int64_t leaf = 0; leaf < 2; ++leaf) {
      int64_t mixed = 0;
      for (const UnitRef ref : sampler.micro_batch(step, leaf)) mixed += ref.kind == UnitKind::mixed;
      EXPECT_EQ(mixed, 2);
    }
}

TEST(Sampler, DependsOnTheSeedAlone) {
  const Sampler a({100, 0}, {4, 0}, 2, 1), same({100, 0}, {4, 0}, 2, 1), other({100, 0}, {4, 0}, 2, 2);
  EXPECT_EQ(a.micro_batch(7, 1), same.micro_batch(7, 1));
  EXPECT_NE(a.micro_batch(7, 1), other.micro_batch(7, 1));
}

TEST(Sampler, RefusesKindsWithoutUnits) {
  EXPECT_EQ(message_of([] {
              Sampler({10, 0}, {2, 3}, 2, 1);
            }),
            "sampler: micro-batches ask for 3 text units each, but the dataset has none");
  EXPECT_EQ(message_of([] {
              Sampler({10, 0}, {0, 0}, 2, 1);
            }),
            "sampler: a micro-batch has at least one unit, got 0 mixed and 0 text");
}

class LoaderTest : public ::testing::Test {
 protected:
  void SetUp() override { write_synthetic_dataset(folder_ / "set", 3); }
  TokenDataset dataset(const std::string& split = "train") const { return {folder_ / "set", split}; }
  static constexpr LoaderConfig kConfig{.micro_batches = 3, .mixed_units = 2, .text_units = 1};
  static constexpr LeafSequence kAll{0, 3, 1};

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
  Loader loader(dataset(), kConfig, 9, engine_.stream());
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
    Loader loader(dataset(), kConfig, 9, engine_.stream());
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
  Loader loader(dataset(), kConfig, 9, engine_.stream());
  loader.start(0, kAll);
  const Rows first = rows_of(loader.next().tokens);
  loader.start(0, kAll);
  EXPECT_EQ(rows_of(loader.next().tokens), first);
}

TEST_F(LoaderTest, RanksWithoutLeavesMayNotAsk) {
  Loader loader(dataset(), kConfig, 9, engine_.stream());
  loader.start(0, {3, 3, 4});
  EXPECT_EQ(message_of([&] { loader.next(); }), "loader: this rank has no leaves, or start() was not called");
}

TEST_F(LoaderTest, AReadThatFailsReachesTheConsumer) {
  const std::string shard = folder_ / "set/train-mixed-00000.h5";
  Loader loader(dataset(), {.micro_batches = 1, .mixed_units = 64}, 9, engine_.stream());
  std::fstream file(shard,
                    std::ios::in | std::ios::out | std::ios::binary);  // behind the back of the open file
  file << std::string(std::filesystem::file_size(shard), '\xff') << std::flush;
  loader.start(0, {0, 1, 1});
  EXPECT_EQ(message_of([&] { loader.next(); }),
            "dataset: " + shard +
                ": /tokens holds 65535, which is not among 64 ids (32 image codes, "
                "26 text pieces)");
}

}  // namespace
}  // namespace tessera
