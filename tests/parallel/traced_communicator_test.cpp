#include <gtest/gtest.h>

#include "parallel/communicator.h"
#include "runtime/cpu_engine.h"
#include "tests/support/ranks.h"

namespace tessera {
namespace {

TEST(TracedCommunicator, ExchangesDataAsTheOneBelow) {
  for (const bool running : {false, true})
    run_ranks(3, [running](Communicator& world) {
      Trace trace;
      if (running) trace.start();
      expect_communicator(*traced(world, trace));
      EXPECT_EQ(trace.totals().empty(), !running);
    });
}

TEST(TracedCommunicator, NamesCollectivesByWhatTheyAreAbout) {
  run_ranks(2, [](Communicator& world) {
    CpuEngine engine;
    engine.trace.start();
    const std::unique_ptr<Communicator> communicator = traced(world, engine.trace);
    const double value[] = {1};
    all_gather_values(*communicator, value);
    communicator->about("gather blocks.0");
    all_gather_values(*communicator, value);
    communicator->about("");
    communicator->barrier();
    std::set<std::string> names;
    for (Track track : {Track::compute, Track::communication})
      for (const auto& [name, total] : engine.trace.totals(track)) names.insert(name);
    EXPECT_EQ(names, (std::set<std::string>{"all_gather", "barrier", "gather blocks.0", "start_collective",
                                            "wait_for_collective"}));
  });
}

/// Messages are under way from the start of a collective until its wait is over, whatever the thread does in between.
TEST(TracedCommunicator, TrafficLastsUntilTheWaitIsOver) {
  run_ranks(2, [](Communicator& world) {
    CpuEngine engine;
    engine.trace.start();
    const std::unique_ptr<Communicator> communicator = traced(world, engine.trace);
    const Tensor part = Tensor::zeros({4}, DType::f32, engine.stream());
    const Tensor whole = Tensor::zeros({8}, DType::f32, engine.stream());
    Pending<Tensor> pending = communicator->all_gather(part, whole, engine.stream());
    const int64_t begin = Trace::now_ns();
    while (Trace::now_ns() - begin < 2'000'000) {
    }
    std::move(pending).wait(engine.stream());
    const auto totals = engine.trace.totals();
    EXPECT_GE(engine.trace.totals(Track::communication).at("all_gather").ns,
              2'000'000 + totals.at("start_collective").ns + totals.at("wait_for_collective").ns);
  });
}

}  // namespace
}  // namespace tessera
