// The tests of a communicator over MPI: mpirun -n N mpi_communicator.
#include <gtest/gtest.h>
#include <mpi.h>

#include "parallel/communicator.h"
#include "tests/support/ranks.h"

namespace tessera {
namespace {

TEST(Mpi, ExchangesData) { expect_communicator(*mpi_world()); }

TEST(Mpi, ExchangesDataWhenChecked) {
  const std::unique_ptr<Communicator> world = mpi_world();
  expect_communicator(*checked(*world));
}

TEST(MpiFull, LongMessages) { expect_long_messages(*mpi_world()); }

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
  MPI_Init(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  // An exception ends the process, and with it all ranks, where otherwise they would wait for this one.
  GTEST_FLAG_SET(catch_exceptions, false);
  const int failed = RUN_ALL_TESTS();
  MPI_Finalize();
  return failed;
}
