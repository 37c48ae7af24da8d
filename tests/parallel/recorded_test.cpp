#include "parallel/recorded.h"

#include <gtest/gtest.h>

#include "runtime/cpu_engine.h"
#include "runtime/flight_ring.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/ranks.h"

namespace tessera {
namespace {

constexpr int64_t kCapacity = 4096;

/// The records that body leaves on each of ranks ranks.
std::vector<FlightRing> records_of(int ranks,
                                   const std::function<void(Communicator&, FlightRecorder&)>& body) {
  const TemporaryFolder folder;
  run_ranks(ranks, [&](Communicator& world) {
    FlightRecorder recorder(world.rank(), world.size(), kCapacity, 1);
    recorder.persist(flight_ring_path(folder / "", world.rank()));
    body(*recorded(world, recorder, "world"), recorder);
  });
  std::vector<std::string> problems;
  return read_flight_rings(folder / "", problems);
}

TEST(Recorded, ExchangesData) {
  for (int ranks : {1, 2, 3, 4})
    records_of(ranks, [](Communicator& world, FlightRecorder&) { expect_communicator(world); });
}

TEST(Recorded, TellsWhatEachRankDid) {
  const std::vector<FlightRing> rings = records_of(2, [](Communicator& world, FlightRecorder& recorder) {
    CpuEngine engine;
    const Stream stream = engine.stream();
    recorder.step(5);
    checked(world)->about("gather blocks.0");
    const Tensor part = Tensor::zeros({3}, DType::f32, stream),
                 whole = Tensor::zeros({6}, DType::f32, stream);
    Pending<Tensor> pending = world.all_gather(part, whole, stream);
    world.barrier();
    (void)std::move(pending).wait(stream);
    recorder.phase(FlightPhase::optimizer);
    world.broadcast(part, 1);
  });
  ASSERT_EQ(rings.size(), 2u);
  for (const FlightRing& ring : rings) {
    std::string story;
    for (const FlightRecord& record : ring.records)
      story += str(name_of(static_cast<FlightEvent>(record.event)), " ",
                   name_of(static_cast<FlightOperation>(record.operation)), " ", record.sequence, " ",
                   record.count, " ", record.result, " ", record.about, "\n");
    EXPECT_EQ(story,
              "step none 0 0 0 \n"
              "enter all_gather 1 3 6 gather blocks.0\n"
              "enter barrier 2 0 0 gather blocks.0\n"
              "done barrier 2 0 0 gather blocks.0\n"
              "done all_gather 1 3 6 gather blocks.0\n"
              "phase none 0 0 0 \n"
              "enter broadcast 3 3 1 \n"
              "done broadcast 3 3 1 \n")
        << "a purpose ends with its phase";
  }
}

TEST(Recorded, NumbersEveryGroupByItself) {
  const std::vector<FlightRing> rings = records_of(4, [](Communicator& world, FlightRecorder&) {
    const auto half = world.split(world.rank() % 2, 0);
    const auto again = world.split(world.rank() % 2, 0);
    half->barrier();
    again->barrier();
    half->split(0, 0)->barrier();
  });
  const auto group_of = [&](size_t rank, size_t place) { return rings[rank].groups.at(place).id; };
  for (const FlightRing& ring : rings) {
    ASSERT_EQ(ring.groups.size(), 4u);
    EXPECT_EQ(ring.groups[0].size, 4u);
    EXPECT_EQ(ring.groups[1].size, 2u);
    EXPECT_EQ(ring.groups[1].rank, static_cast<uint32_t>(ring.rank / 2));
  }
  for (size_t place = 0; place < 4; ++place) {
    EXPECT_EQ(group_of(0, place), group_of(2, place)) << "members agree on who they are";
    EXPECT_EQ(group_of(1, place), group_of(3, place));
    for (size_t other = 0; other < place; ++other) EXPECT_NE(group_of(0, place), group_of(0, other));
    EXPECT_EQ(group_of(0, place) == group_of(1, place), place == 0) << "halves differ";
  }
}

}  // namespace
}  // namespace tessera
