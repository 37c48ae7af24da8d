// The tests of a communicator over MPI: mpirun -n N mpi_communicator.
#include <gtest/gtest.h>
#include <mpi.h>

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "parallel/communicator.h"
#include "runtime/cpu_engine.h"
#include "tests/support/ranks.h"

namespace tessera {
namespace {

TEST(Mpi, ExchangesData) { expect_communicator(*mpi_world()); }

TEST(Mpi, ExchangesDataWhenChecked) {
  const std::unique_ptr<Communicator> world = mpi_world();
  expect_communicator(*checked(*world));
}

TEST(Mpi, ExchangesDataInTheBackground) {
  const std::unique_ptr<Communicator> world = mpi_world();
  world->progress_in_background();
  expect_communicator(*world);
}

/// Rank 0 waits for messages from ranks that do something else meanwhile, until a file says that it has them.
TEST(Mpi, MessagesArriveWhileTheOtherRankIsBusy) {
  const std::unique_ptr<Communicator> world = mpi_world();
  if (world->size() == 1) GTEST_SKIP() << "needs two ranks to send something";
  world->progress_in_background();
  const double process[] = {static_cast<double>(getpid())};
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / str("tessera_arrived_", all_gather_values(*world, process)[0]);
  CpuEngine engine;
  constexpr int64_t kCount = 1 << 20;  // so long that both sides must take part
  const Tensor part = Tensor::zeros({kCount}, DType::f32, engine.stream());
  const Tensor whole = Tensor::zeros({kCount * world->size()}, DType::f32, engine.stream());
  Pending<Tensor> pending = world->all_gather(part, whole, engine.stream());
  if (world->rank() == 0) {
    std::move(pending).wait(engine.stream());
    std::ofstream{file};
  } else {
    const int64_t begin = Trace::now_ns();
    while (!std::filesystem::exists(file) && Trace::now_ns() - begin < 20'000'000'000)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(std::filesystem::exists(file));
    std::move(pending).wait(engine.stream());
  }
  world->barrier();
  if (world->rank() == 0) std::filesystem::remove(file);
}

TEST(MpiFull, LongMessages) { expect_long_messages(*mpi_world()); }

/// Rank 0 sends six elements to rank 1, which expects another number.
std::string failure_of_exchange(Communicator& world, int64_t expected) {
  CpuEngine engine;
  std::vector<int64_t> send_counts(static_cast<size_t>(world.size())), receive_counts = send_counts;
  if (world.rank() == 0) send_counts[1] = 6;
  if (world.rank() == 1) receive_counts[0] = expected;
  const Tensor send = Tensor::zeros({world.rank() == 0 ? 6 : 0}, DType::f32, engine.stream());
  const Tensor room = Tensor::zeros({world.rank() == 1 ? expected : 0}, DType::f32, engine.stream());
  try {
    (void)world.all_to_all(send, send_counts, room, receive_counts, engine.stream()).wait(engine.stream());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Mpi, MessagesOfAnotherLengthAreErrors) {
  const std::unique_ptr<Communicator> world = mpi_world();
  if (world->size() == 1) GTEST_SKIP() << "needs two ranks to differ";
  const bool receives = world->rank() == 1;
  EXPECT_EQ(failure_of_exchange(*world, 7), receives ? "all_to_all: rank 0 sent 24 bytes, expected 28" : "");
  const std::string truncated = failure_of_exchange(*world, 5);
  EXPECT_EQ(truncated.find("all_to_all: MPI: MPI_ERR_TRUNCATE") != std::string::npos, receives) << truncated;
  world->barrier();
}

/// What is left of an exchange after a failure must not write into memory that serves another purpose by then.
TEST(Mpi, ADroppedExchangeReceivesNothingMore) {
  const std::unique_ptr<Communicator> world = mpi_world();
  if (world->size() == 1) GTEST_SKIP() << "needs a rank that does not take part";
  CpuEngine engine;
  if (world->rank() == 1) {
    const std::vector<int64_t> none(static_cast<size_t>(world->size()));
    std::vector<int64_t> from_first = none;
    from_first[0] = 6;
    const Tensor room = Tensor::zeros({6}, DType::f32, engine.stream());
    (void)world->all_to_all(Tensor::zeros({0}, DType::f32, engine.stream()), none, room, from_first,
                            engine.stream());
  }
  world->barrier();
  EXPECT_EQ(failure_of_exchange(*world, 6), "") << "the message goes to the exchange that it was sent to";
}

TEST(Mpi, CheckedMismatchThrowsEverywhere) {
  const std::unique_ptr<Communicator> world = mpi_world();
  if (world->size() == 1) GTEST_SKIP() << "needs two ranks to differ";
  const std::vector<double> values(static_cast<size_t>(1 + world->rank()));
  EXPECT_THROW((void)all_gather_values(*checked(*world), values), Error);
  world->barrier();
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
  testing::InitGoogleTest(&argc, argv);
  // An exception ends the process, and with it all ranks, where otherwise they would wait for this one.
  GTEST_FLAG_SET(catch_exceptions, false);
  const int failed = RUN_ALL_TESTS();
  MPI_Finalize();
  return failed;
}
