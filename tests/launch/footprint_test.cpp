#include "launch/footprint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>

#include "data/synthetic.h"
#include "launch/rows.h"
#include "launch/train.h"
#include "layers/transformer.h"
#include "parallel/counted.h"
#include "runtime/cpu_engine.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace tessera {
namespace {

struct Case {
  int ranks;
  MeshConfig mesh;
  std::vector<std::string> settings{};
};

class FootprintTest : public testing::Test {
 protected:
  static constexpr int kSteps = 2;

  FootprintTest() { write_synthetic_dataset(folder_ / "data", 11); }

  Config config_of(const Case& of) const {
    Config config = tiny_run(folder_ / "data", "4t2i");
    config.steps = kSteps;
    config.out = folder_ / "run";
    config.loader.micro_batches = 9;
    config.mesh = of.mesh;
    Json json = to_json(config);
    override_settings(of.settings, json);
    from_json(json, "test", config);
    return config;
  }

  /// The tokens of all leaves of a step.
  std::vector<PoolTokens> tokens_of(const Config& config, int64_t step) const {
    CpuEngine engine(1);
    const Loader loader(TokenDataset(config.data, "train"), config.loader, static_cast<uint64_t>(config.seed),
                        engine.stream());
    std::vector<PoolTokens> leaves;
    for (int64_t leaf = 0; leaf < config.loader.micro_batches; ++leaf)
      leaves.push_back(pool_tokens(loader.token_counts(step, leaf), config.model.routing_pool));
    return leaves;
  }

  void expect_exact(const Case& of) const {
    const Config config = config_of(of);
    SCOPED_TRACE(str(of.ranks, " ranks, ", of.mesh.replicate, " replicas, expert axis ", of.mesh.expert, " ",
                     of.settings.empty() ? "" : of.settings[0]));
    const Layout layout{of.ranks,
                        of.mesh,
                        {config.compute_dtype(), config.reshard_after_forward},
                        config.recomputed().blocks};
    std::mutex lock;
    run_ranks(of.ranks, [&](Communicator& world) {
      Traffic sent;
      const std::unique_ptr<Communicator> counting = counted(world, sent);
      EXPECT_EQ(train(config, *counting), 0);
      StepTraffic expected;
      for (int64_t step = 0; step < kSteps; ++step) {
        const StepTraffic of_step = step_traffic(config.model, layout, world.rank(), tokens_of(config, step));
        expected.gather += of_step.gather;
        expected.gradients += of_step.gradients;
        expected.replicas += of_step.replicas;
        expected.rows += of_step.rows;
      }
      const StepTraffic measured = by_kind(sent);
      const std::lock_guard hold(lock);  // for the output
      EXPECT_EQ(measured.gather, expected.gather) << "rank " << world.rank();
      EXPECT_EQ(measured.gradients, expected.gradients) << "rank " << world.rank();
      EXPECT_EQ(measured.replicas, expected.replicas) << "rank " << world.rank();
      EXPECT_EQ(measured.rows, expected.rows) << "rank " << world.rank();
    });
    std::filesystem::remove_all(config.out);
  }

  TemporaryFolder folder_;
};

TEST_F(FootprintTest, TrafficIsTheClosedFormToTheByte) {
  expect_exact({2, {}});
  expect_exact({3, {}, {"reshard_after_forward=true"}});
  expect_exact({4, {.replicate = 2}, {"compute=bf16"}});
  expect_exact({2, {.expert = 2}});
  expect_exact({4, {.expert = 2}, {"recompute=[\"blocks\"]", "reshard_after_forward=true"}});
  expect_exact({8, {.replicate = 2, .expert = 2}, {"compute=bf16", "reshard_after_forward=true"}});
  expect_exact({4, {.expert = 4}, {"model.routing_pool=sequence"}});
  expect_exact({6, {.replicate = 3, .expert = 2}});
}

TEST_F(FootprintTest, StateIsTheClosedFormToTheByte) {
  for (const Case& of : {Case{1, {}},
                         {3, {}},
                         {4, {.replicate = 2}},
                         {4, {.expert = 2}},
                         {8, {.replicate = 2, .expert = 2}}}) {
    const Config config = config_of(of);
    run_ranks(of.ranks, [&](Communicator& world) {
      Transformer model(config.model);
      const Shards shards = shard(model, Mesh(world, of.mesh), Stream::meta(), {}, 1, 1);
      int64_t held = 0;
      for (const ShardPiece& piece : shards.pieces()) held += 2 * (piece.value.bytes() + piece.grad.bytes());
      EXPECT_EQ(held, state_bytes(config.model, {of.ranks, of.mesh}, world.rank()));
    });
  }
}

TEST_F(FootprintTest, RefusesRowsThatRoutersChoose) {
  const Config config = config_of({2, {.expert = 2}, {"model.depth_capacity=[0.5]"}});
  EXPECT_THROW((void)step_traffic(config.model, {2, {.expert = 2}}, 0, tokens_of(config, 0)), Error);
}

}  // namespace
}  // namespace tessera
