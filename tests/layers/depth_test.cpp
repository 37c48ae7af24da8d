// Mixture-of-depths: which rows enter a block, as what, and what happens to the others.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

TEST(Depth, SelectedRowsKeepTheirPositionsDocumentsAndModalities) {
  CpuEngine engine;
  Rows rows = with_tokens(tiny_rows({{3, 2}, {4}}, Modalities::both, engine.stream(), 1),
                          {12, 4, 5, 13, 6, 0, 14, 7, 15, 16, 0})
                  .rows;
  rows.rotations = rope_table(rows.positions, 6, 100);
  const std::vector<int32_t> index{0, 2, 6, 7, 9};
  const Rows chosen =
      select_rows(rows, make_routing(Tensor::from(index, {5}, engine.stream()), {0, 5}, rows.tokens.count()));
  EXPECT_EQ(chosen.tokens.to_vector<int32_t>(), (std::vector<int32_t>{12, 5, 14, 7, 16}));
  EXPECT_EQ(chosen.positions.to_vector<int32_t>(), (std::vector<int32_t>{0, 2, 0, 1, 3}));
  EXPECT_EQ(chosen.rotations.to_vector<float>(), rope_table(chosen.positions, 6, 100).to_vector<float>());
  EXPECT_EQ(chosen.segments, (std::vector<int64_t>{0, 2, 5}));
  EXPECT_EQ(chosen.of_modality[0].index.to_vector<int32_t>(), (std::vector<int32_t>{0, 2, 4}));
  EXPECT_EQ(chosen.of_modality[0].units, (std::vector<int64_t>{0, 1, 3}));
  EXPECT_EQ(chosen.of_modality[1].index.to_vector<int32_t>(), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(chosen.of_modality[1].units, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(chosen.all.index.to_vector<int32_t>(), (std::vector<int32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(chosen.all.units, (std::vector<int64_t>{0, 2, 5}));
}

TEST(Depth, TakesItsShareOfEachPoolAndNoPadding) {
  CpuEngine engine;
  const TinyRows tiny = tiny_rows({{11}, {4}, {2, 9}}, Modalities::both, engine.stream());
  for (const char* pool : {"sequence", "micro_batch"})
    for (double capacity : {0.25, 0.5, 0.001}) {
      ModelConfig config = tiny_config({"2t2i"});
      config.routing_pool = pool;
      config.depth_capacity = {capacity, 1};
      const StepResult step = run_step(config, tiny, DType::f32, engine.stream());
      ASSERT_EQ(step.routing.depths.size(), 1u);
      const std::vector<int32_t>& rows = step.routing.depths.at(0);
      int64_t expected = 0;
      const std::vector<int64_t> sizes =
          std::string(pool) == "sequence" ? std::vector<int64_t>{11, 4, 11} : std::vector<int64_t>{26};
      for (int64_t size : sizes) expected += expert_slots(size, 1, capacity);
      EXPECT_EQ(std::ssize(rows), expected) << pool << " " << capacity;
      for (int32_t row : rows) EXPECT_NE(tiny.host.tokens[static_cast<size_t>(row)], 0);
      // The experts of the block choose among the rows that entered.
      for (int32_t row : step.routing.experts.at(0).index) EXPECT_LT(row, std::ssize(rows));
    }
}

/// The output of the only block, before the head.
std::vector<float> block_output(const ModelConfig& config, const TinyRows& tiny, Stream stream,
                                Routings* record, std::vector<float>* input) {
  std::vector<float> values;
  run_ranks(1, [&](Communicator& world) {
    Transformer model(config);
    Shards shards = shard(model, Mesh(world), stream, {}, 1, config.deviation);
    Rows rows = tiny.rows;
    Tensor output;
    rows.record = record;
    rows.output = &output;
    model.hidden(rows);
    values = output.to_vector<float>();
    *input = model.embedding(rows).value().to_vector<float>();
  });
  return values;
}

TEST(Depth, RowsThatStayOutKeepTheirBits) {
  CpuEngine engine;
  const TinyRows tiny = tiny_rows({{11}, {4}, {2, 9}}, Modalities::both, engine.stream());
  ModelConfig config = tiny_config({"2t2i"});
  config.layers = 1;
  config.depth_capacity = {0.25};
  Routings record;
  std::vector<float> before;
  const std::vector<float> after = block_output(config, tiny, engine.stream(), &record, &before);
  const std::vector<int32_t> entered = record.depths.at(0).chosen.routing.index.to_vector<int32_t>();
  const auto width = static_cast<size_t>(config.width);
  for (size_t row = 0; row < tiny.host.tokens.size(); ++row) {
    const bool enters = std::binary_search(entered.begin(), entered.end(), static_cast<int32_t>(row));
    EXPECT_EQ(std::memcmp(&before[row * width], &after[row * width], width * sizeof(float)) == 0, !enters)
        << "row " << row;
  }
}

// Every row in, gates as they are: x + g (Block(x) - x) with g from the router; none in: nothing changes.
TEST(Depth, ABlockThatNobodyEntersLeavesEverything) {
  CpuEngine engine;
  TinyRows tiny = tiny_rows({{7}}, Modalities::both, engine.stream());
  ModelConfig config = tiny_config({"2t2i"});
  config.layers = 1;
  config.depth_capacity = {0.5};
  Thresholds thresholds;
  thresholds.update(
      {{"0/depth", 1.0}, {"0/text/0", 0.5}, {"0/text/1", 0.5}, {"0/image/0", 0.5}, {"0/image/1", 0.5}}, 0.5);
  tiny.rows.thresholds = &thresholds;
  Routings record;
  std::vector<float> before;
  EXPECT_EQ(block_output(config, tiny, engine.stream(), &record, &before), before);
  EXPECT_EQ(record.depths.at(0).rows.tokens.count(), 0);
}

}  // namespace
}  // namespace tessera
