#include <gtest/gtest.h>

#include <atomic>

#include "parallel/communicator.h"
#include "runtime/cpu_engine.h"
#include "runtime/log.h"
#include "tests/support/ranks.h"

namespace tessera {
namespace {

class Local : public testing::TestWithParam<int> {};

TEST_P(Local, ExchangesData) { run_ranks(GetParam(), expect_communicator); }

TEST_P(Local, ExchangesDataWhenChecked) {
  run_ranks(GetParam(), [](Communicator& world) { expect_communicator(*checked(world)); });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Local, testing::Values(1, 2, 3, 4));

TEST(RunRanks, GivesEveryThreadItsRankAndPrefix) {
  std::atomic<int> seen{0};
  run_ranks(3, [&seen](Communicator& world) {
    EXPECT_EQ(world.size(), 3);
    EXPECT_EQ(log_prefix(), str("rank ", world.rank(), ": "));
    seen += 1 << world.rank();
  });
  EXPECT_EQ(seen, 7);
  run_ranks(1, [](Communicator&) { EXPECT_EQ(log_prefix(), ""); });
  EXPECT_THROW(run_ranks(0, [](Communicator&) {}), Error);
}

/// What run_ranks() throws.
std::string failure_of(int count, const std::function<void(Communicator&)>& body) {
  try {
    run_ranks(count, body);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

/// Rank 1 fails while the others wait in operation; they must be released and the failure of rank 1 reported.
void expect_release(const std::function<void(Communicator&)>& operation) {
  std::atomic<int> released{0};
  const std::string failure = failure_of(3, [&](Communicator& world) {
    if (world.rank() == 1) throw std::runtime_error("rank 1 gave up");
    try {
      operation(world);
    } catch (const Error&) {
      ++released;
      throw;
    }
  });
  EXPECT_EQ(failure, "rank 1 gave up");
  EXPECT_EQ(released, 2);
}

TEST(RunRanks, AFailureReleasesTheOthers) {
  expect_release([](Communicator& world) { world.barrier(); });
  expect_release([](Communicator& world) { (void)world.split(0, 0); });
  expect_release([](Communicator& world) { (void)all_gather_values(world, {}); });
  expect_release([](Communicator& world) {
    CpuEngine engine;
    world.broadcast(Tensor::zeros({4}, DType::f32, engine.stream()), 2);
  });
  expect_release([](Communicator& world) {
    CpuEngine engine;
    const Tensor three = Tensor::zeros({3}, DType::f32, engine.stream()), other = Tensor::like(three);
    const std::vector<int64_t> counts{1, 1, 1};
    (void)world.all_to_all(three, counts, other, counts, engine.stream()).wait(engine.stream());
  });
}

TEST(RunRanks, AFailureReachesOtherGroups) {
  std::atomic<int> released{0};
  const std::string failure = failure_of(4, [&released](Communicator& world) {
    const std::unique_ptr<Communicator> half = world.split(world.rank() % 2, 0);
    if (world.rank() == 3) throw Error("rank 3 gave up");
    try {
      for (;;) half->barrier();  // ranks 0 and 2 never meet the one that failed
    } catch (const Error&) {
      ++released;
      throw;
    }
  });
  EXPECT_EQ(failure, "rank 3 gave up");
  EXPECT_EQ(released, 3);
}

TEST(RunRanks, ARankThatEndsEarlyReleasesTheOthers) {
  const std::string failure = failure_of(3, [](Communicator& world) {
    world.barrier();
    if (world.rank() != 2) world.barrier();
  });
  EXPECT_NE(failure.find("will not take part"), std::string::npos) << failure;
}

TEST(RunRanks, ExchangesDoNotOutliveTheirBuffers) {
  // Every rank frees its buffer at once, and one fails at some point: the sanitizers would see a peer still reading.
  for (int fatal = 0; fatal < 20; ++fatal) {
    const std::string failure = failure_of(4, [fatal](Communicator& world) {
      CpuEngine engine;
      for (int turn = 0;; ++turn) {
        if (world.rank() == 1 && turn == fatal) throw Error("enough");
        const Tensor part = Tensor::zeros({1000}, DType::f32, engine.stream());
        const Tensor room = Tensor::empty({4000}, DType::f32, engine.stream());
        (void)world.all_gather(part, room, engine.stream()).wait(engine.stream());
        part.discard();
      }
    });
    EXPECT_EQ(failure, "enough");
  }
}

TEST(RunRanks, LocalMismatchesThrow) {
  const std::string failure = failure_of(2, [](Communicator& world) {
    CpuEngine engine;
    const Tensor part = Tensor::zeros({3 + world.rank()}, DType::f32, engine.stream());
    const Tensor room = Tensor::empty({2 * part.count()}, DType::f32, engine.stream());
    (void)world.all_gather(part, room, engine.stream()).wait(engine.stream());
  });
  EXPECT_NE(failure.find("all_gather"), std::string::npos) << failure;
}

/// All ranks call their own operation through a checked communicator; every one must get the same message.
void expect_mismatch(const std::function<void(Communicator&, Stream)>& operation,
                     const std::string& message) {
  std::atomic<int> refused{0};
  run_ranks(3, [&](Communicator& world) {
    CpuEngine engine;
    const std::unique_ptr<Communicator> careful = checked(world);
    try {
      operation(*careful, engine.stream());
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), message) << "on rank " << world.rank();
      ++refused;
    }
    world.barrier();  // still in step
  });
  EXPECT_EQ(refused, 3);
}

TEST(Checked, NamesTheRanksThatDiffer) {
  expect_mismatch(
      [](Communicator& world, Stream stream) {
        if (world.rank() == 1)
          world.barrier();
        else
          world.broadcast(Tensor::zeros({5}, DType::bf16, stream), 0);
      },
      "collectives differ: barrier on rank 1; broadcast of 5 bf16 from rank 0 on ranks 0, 2");
  expect_mismatch(
      [](Communicator& world, Stream stream) {
        world.broadcast(Tensor::zeros({5}, DType::f32, stream), world.rank() / 2);
      },
      "collectives differ: broadcast of 5 f32 from rank 0 on ranks 0, 1; broadcast of 5 f32 from rank 1 on "
      "rank 2");
  expect_mismatch(
      [](Communicator& world, Stream stream) {
        const int64_t count = world.rank() == 2 ? 4 : 3;
        (void)world.all_gather(Tensor::zeros({count}, DType::f32, stream),
                               Tensor::zeros({3 * count}, DType::f32, stream), stream);
      },
      "collectives differ: all_gather of 3 f32 into 9 on ranks 0, 1; all_gather of 4 f32 into 12 on rank 2");
  expect_mismatch(
      [](Communicator& world, Stream stream) {
        const DType dtype = world.rank() == 0 ? DType::f32 : DType::i32;
        (void)world.all_gather(Tensor::zeros({1}, dtype, stream), Tensor::zeros({3}, dtype, stream), stream);
      },
      "collectives differ: all_gather of 1 f32 into 3 on rank 0; all_gather of 1 i32 into 3 on ranks 1, 2");
}

TEST(Checked, ComparesCountsOfBothSides) {
  auto exchange = [](Communicator& world, Stream stream, int64_t sent, int64_t expected) {
    // Rank 0 sends to rank 1 alone.
    std::vector<int64_t> send_counts(3), receive_counts(3);
    if (world.rank() == 0) send_counts[1] = sent;
    if (world.rank() == 1) receive_counts[0] = expected;
    const Tensor send = Tensor::zeros({world.rank() == 0 ? 6 : 0}, DType::f32, stream);
    const Tensor room = Tensor::zeros({world.rank() == 1 ? expected : 0}, DType::f32, stream);
    (void)world.all_to_all(send, send_counts, room, receive_counts, stream).wait(stream);
  };
  expect_mismatch([&](Communicator& world, Stream stream) { exchange(world, stream, 6, 5); },
                  "all_to_all of f32: rank 0 sends 6 elements to rank 1, which expects 5");
  expect_mismatch([&](Communicator& world, Stream stream) { exchange(world, stream, 5, 5); },
                  "collectives differ: all_to_all of f32 on ranks 1, 2; all_to_all of f32 with counts that "
                  "do not fit on rank 0");
}

TEST(Checked, PartsAreCheckedToo) {
  run_ranks(4, [](Communicator& world) {
    const std::unique_ptr<Communicator> half = checked(world)->split(world.rank() / 2, 0);
    CpuEngine engine;
    const Tensor data = Tensor::zeros({1 + half->rank()}, DType::f32, engine.stream());
    EXPECT_THROW(half->broadcast(data, 0), Error);
  });
}

}  // namespace
}  // namespace tessera
