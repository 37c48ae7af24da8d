#include "runtime/flight_recorder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <random>
#include <thread>

#include "runtime/flight_ring.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

constexpr int64_t kCapacity = 64;

/// Record number n of a test, recognisable.
void record(FlightRecorder& recorder, uint64_t n) {
  recorder.enter({.operation = FlightOperation::all_gather,
                  .dtype = DType::bf16,
                  .group = 7,
                  .sequence = n,
                  .count = static_cast<int64_t>(n * n),
                  .result = static_cast<int64_t>(3 * n)},
                 str("gather ", n));
}

void expect_record(const FlightRecord& found) {
  const uint64_t n = found.sequence;
  EXPECT_EQ(found.index, n);
  EXPECT_EQ(found.group, 7u);
  EXPECT_EQ(found.count, static_cast<int64_t>(n * n));
  EXPECT_EQ(found.result, static_cast<int64_t>(3 * n));
  EXPECT_EQ(found.dtype, static_cast<uint8_t>(DType::bf16));
  EXPECT_EQ(found.operation, static_cast<uint8_t>(FlightOperation::all_gather));
  EXPECT_EQ(std::string(found.about), str("gather ", n));
}

TEST(FlightRecorder, KeepsTheLatestRecords) {
  const TemporaryFolder folder;
  const std::string path = flight_ring_path(folder / "", 3);
  FlightRecorder recorder(3, 5, kCapacity, 99);
  for (uint64_t n = 1; n <= 20; ++n) record(recorder, n);
  recorder.join({7, 2, 1});
  recorder.persist(path);
  for (uint64_t n = 21; n <= 150; ++n) record(recorder, n);
  const FlightRing ring = read_flight_ring(path);
  EXPECT_EQ(ring.rank, 3);
  EXPECT_EQ(ring.ranks, 5);
  EXPECT_EQ(ring.run, 99u);
  EXPECT_EQ(ring.pid, ::getpid());
  EXPECT_EQ(ring.process, ProcessState::running);
  EXPECT_EQ(ring.damaged, 0);
  ASSERT_EQ(ring.groups.size(), 1u);
  EXPECT_EQ(ring.groups[0].size, 2u);
  ASSERT_EQ(ring.records.size(), static_cast<size_t>(kCapacity));
  EXPECT_EQ(ring.records.front().sequence, 150u - kCapacity + 1);
  EXPECT_EQ(ring.records.back().sequence, 150u);
  for (const FlightRecord& found : ring.records) expect_record(found);
  EXPECT_TRUE(std::ranges::is_sorted(ring.records, {}, &FlightRecord::time_ns));
}

TEST(FlightRecorder, StampsStepRoundAndPhase) {
  const TemporaryFolder folder;
  FlightRecorder recorder(0, 1, kCapacity, 1);
  recorder.persist(folder / "rank.ring");
  recorder.step(12);
  recorder.round(3);
  recorder.phase(FlightPhase::backward);
  recorder.enter({.operation = FlightOperation::barrier, .group = 7, .sequence = 4}, std::string(200, 'x'));
  EXPECT_EQ(read_flight_ring(folder / "rank.ring").inside_group, 7u);
  EXPECT_EQ(read_flight_ring(folder / "rank.ring").inside_sequence, 4u);
  recorder.under_way();
  EXPECT_EQ(read_flight_ring(folder / "rank.ring").inside_group, 0u);
  recorder.end(FlightEnd::error, "the first words");
  recorder.end(FlightEnd::finished, "later ones");
  const FlightRing ring = read_flight_ring(folder / "rank.ring");
  ASSERT_EQ(ring.records.size(), 3u);
  EXPECT_EQ(ring.records[0].event, static_cast<uint8_t>(FlightEvent::step));
  EXPECT_EQ(ring.records[2].step, 12);
  EXPECT_EQ(ring.records[2].round, 3);
  EXPECT_EQ(ring.records[2].phase, static_cast<uint8_t>(FlightPhase::backward));
  EXPECT_EQ(std::string(ring.records[2].about), std::string(sizeof(FlightRecord::about) - 1, 'x'))
      << "cut off";
  EXPECT_EQ(ring.end, FlightEnd::error);
  EXPECT_EQ(ring.last_words, "the first words");
}

TEST(FlightRecorder, SurvivesSigkill) {
  const TemporaryFolder folder;
  const std::string path = folder / "rank.ring";
  const pid_t child = ::fork();
  if (child == 0) {
    FlightRecorder recorder(0, 1, kCapacity, 1);
    recorder.persist(path);
    for (uint64_t n = 1; n <= 100; ++n) record(recorder, n);
    ::raise(SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const FlightRing ring = read_flight_ring(path);
  EXPECT_EQ(ring.process, ProcessState::gone);
  EXPECT_EQ(ring.records.size(), static_cast<size_t>(kCapacity));
  EXPECT_EQ(ring.records.back().sequence, 100u);
}

/// A whole file with 40 records, three of them over older ones.
std::string sound_file(const std::string& path) {
  FlightRecorder recorder(1, 4, 37, 5);
  recorder.join({7, 4, 1});
  recorder.persist(path);
  for (uint64_t n = 1; n <= 40; ++n) record(recorder, n);
  return bytes_of_file(path);
}

TEST(FlightRing, BelievesNoDamagedRecord) {
  const TemporaryFolder folder;
  const std::string path = folder / "rank.ring", sound = sound_file(path);
  std::mt19937 random(1);
  int64_t refused = 0, dropped = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    std::string bytes = sound;
    const size_t first = random() % bytes.size(), length = trial % 2 == 0 ? 1 : random() % 300;
    for (size_t i = first; i < std::min(first + length, bytes.size()); ++i)
      bytes[i] = static_cast<char>(random());
    write_file(path, bytes);
    try {
      const FlightRing ring = read_flight_ring(path);
      dropped += ring.damaged;
      for (const FlightRecord& found : ring.records) expect_record(found);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos);
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(dropped, 100);
}

TEST(FlightRing, RefusesOtherFiles) {
  const TemporaryFolder folder;
  const std::string path = folder / "rank.ring", sound = sound_file(path);
  for (size_t size :
       {size_t{0}, size_t{10}, size_t{4095}, size_t{4096}, sound.size() - 1, sound.size() + 1}) {
    std::string bytes = sound;
    bytes.resize(size);
    write_file(path, bytes);
    EXPECT_NE(message_of([&] { read_flight_ring(path); }).find(path), std::string::npos) << size;
  }
  const auto refusal = [&](size_t place) {
    std::string bytes = sound;
    bytes[place] = static_cast<char>(bytes[place] + 100);
    write_file(path, bytes);
    return message_of([&] { read_flight_ring(path); });
  };
  EXPECT_NE(refusal(offsetof(FlightHeader, magic)).find("not a flight recorder"), std::string::npos);
  EXPECT_NE(refusal(offsetof(FlightHeader, version)).find("version: expected 1, got 101"), std::string::npos);
  EXPECT_NE(refusal(offsetof(FlightHeader, rank)).find("rank: expected less than 4, got 101"),
            std::string::npos);
  EXPECT_NE(refusal(offsetof(FlightHeader, capacity)).find("capacity: 137 records"), std::string::npos);
  EXPECT_NE(refusal(offsetof(FlightHeader, ended)).find("ended: unknown value 100"), std::string::npos);
}

TEST(FlightRing, CanBeReadWhileItIsWritten) {
  const TemporaryFolder folder;
  const std::string path = folder / "rank.ring";
  FlightRecorder recorder(0, 1, kCapacity, 1);
  recorder.persist(path);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t n = 1; !stop; ++n) record(recorder, n);
  });
  for (int turn = 0; turn < 100; ++turn)
    for (const FlightRecord& found : read_flight_ring(path).records) expect_record(found);
  stop = true;
  writer.join();
}

TEST(FlightRings, AreThoseOfTheLatestStart) {
  const TemporaryFolder folder;
  std::vector<std::string> problems;
  EXPECT_NE(message_of([&] { read_flight_rings(folder / "none", problems); }).find("none"),
            std::string::npos);
  const auto make = [&](int rank, int ranks, uint64_t run) {
    FlightRecorder(rank, ranks, kCapacity, run).persist(flight_ring_path(folder / "", rank));
  };
  for (int rank : {0, 1, 2, 3}) make(rank, 4, 1);
  for (int rank : {1, 0}) make(rank, 2, 2);
  write_file(folder / "rank_00009.ring", "nonsense");
  const std::vector<FlightRing> rings = read_flight_rings(folder / "", problems);
  ASSERT_EQ(rings.size(), 2u);
  EXPECT_EQ(rings[0].rank, 0);
  EXPECT_EQ(rings[1].run, 2u);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("rank_00009.ring: is cut off"), std::string::npos) << problems[0];
}

TEST(FlightRecorder, LeavesNothingBehindWhenItCannotBeKept) {
  const TemporaryFolder folder;
  FlightRecorder recorder(0, 1, kCapacity, 1);
  EXPECT_NE(message_of([&] { recorder.persist(folder / "none/rank.ring"); }).find("No such file"),
            std::string::npos);
  record(recorder, 1);  // it goes on in memory
  recorder.persist(folder / "rank.ring");
  EXPECT_EQ(read_flight_ring(folder / "rank.ring").records.size(), 1u);
}

}  // namespace
}  // namespace tessera
