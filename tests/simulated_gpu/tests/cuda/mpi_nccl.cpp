// The simulated NCCL with one process per rank: run it under mpirun at 1, 2 and 4 ranks.
#include <cuda_bf16.h>
#include <nccl.h>
#define OMPI_SKIP_MPICXX  // the deprecated C++ bindings need a library of their own
#include <mpi.h>

#include <numeric>
#include <set>

#include "tests/simulated_gpu/tests/cuda/cuda_test.h"
#include "tests/simulated_gpu/tests/cuda/kernels.h"

namespace simulated_gpu::tests {
namespace {

class Nccl : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    comm = make_communicator();
  }
  void TearDown() override {
    EXPECT_EQ(ncclSuccess, ncclCommDestroy(comm));
    CudaTest::TearDown();
  }

  ncclComm_t make_communicator() const {
    ncclUniqueId id{};
    ncclComm_t made = nullptr;
    EXPECT_EQ(ncclSuccess, ncclGetUniqueId(&id));
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    EXPECT_EQ(ncclSuccess, ncclCommInitRank(&made, size, id, rank));
    return made;
  }

  /// What rank `of` holds at i.
  static int value(int of, size_t i) { return (of + 1) * 3 + int(i) % 5; }
  template <class T>
  std::vector<T> values(size_t count, int of) const {
    std::vector<T> result(count);
    for (size_t i = 0; i < count; ++i) result[i] = T(value(of, i));
    return result;
  }

  template <class T>
  void check_all_reduce(ncclDataType_t type) {
    constexpr size_t kCount = 9;
    T* send = to_device(values<T>(kCount, rank));
    T* receive = device_memory<T>(kCount);
    for (const ncclRedOp_t op : {ncclSum, ncclMax, ncclMin}) {
      ASSERT_EQ(ncclSuccess, ncclAllReduce(send, receive, kCount, type, op, comm, stream));
      const std::vector<T> result = to_host(receive, kCount);
      for (size_t i = 0; i < kCount; ++i)
        EXPECT_EQ(expected(op, i), int(float(result[i]))) << op << " " << type;
    }
  }

  int expected(ncclRedOp_t op, size_t i) const {
    if (op == ncclMax) return value(size - 1, i);
    if (op == ncclMin) return value(0, i);
    int sum = 0;
    for (int other = 0; other < size; ++other) sum += value(other, i);
    return sum;
  }

  int rank = 0, size = 1;
  ncclComm_t comm = nullptr;
};

TEST_F(Nccl, KnowsItsPlace) {
  int answer = -1;
  EXPECT_EQ(ncclSuccess, ncclCommCount(comm, &answer));
  EXPECT_EQ(size, answer);
  EXPECT_EQ(ncclSuccess, ncclCommUserRank(comm, &answer));
  EXPECT_EQ(rank, answer);
  EXPECT_EQ(ncclSuccess, ncclCommCuDevice(comm, &answer));
  EXPECT_EQ(0, answer);
  EXPECT_EQ(ncclSuccess, ncclGetVersion(&answer));
  EXPECT_EQ(NCCL_VERSION_CODE, answer);
  ncclResult_t error = ncclInternalError;
  EXPECT_EQ(ncclSuccess, ncclCommGetAsyncError(comm, &error));
  EXPECT_EQ(ncclSuccess, error);
}

TEST_F(Nccl, AllGather) {
  constexpr size_t kCount = 7;
  float* send = to_device(values<float>(kCount, rank));
  float* receive = device_memory<float>(kCount * size_t(size));
  ASSERT_EQ(ncclSuccess, ncclAllGather(send, receive, kCount, ncclFloat32, comm, stream));
  std::vector<float> all;
  for (int other = 0; other < size; ++other) {
    const auto part = values<float>(kCount, other);
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(all, to_host(receive, all.size()));
  // In place: each rank's part lies where it belongs.
  float* whole = device_memory<float>(all.size());
  float* part = whole + size_t(rank) * kCount;
  ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(part, send, kCount * 4, cudaMemcpyDeviceToDevice, stream));
  ASSERT_EQ(ncclSuccess, ncclAllGather(part, whole, kCount, ncclFloat32, comm, stream));
  EXPECT_EQ(all, to_host(whole, all.size()));
}

TEST_F(Nccl, AllReduceOfEveryType) {
  check_all_reduce<int8_t>(ncclInt8);
  check_all_reduce<uint8_t>(ncclUint8);
  check_all_reduce<int32_t>(ncclInt32);
  check_all_reduce<uint32_t>(ncclUint32);
  check_all_reduce<int64_t>(ncclInt64);
  check_all_reduce<uint64_t>(ncclUint64);
  check_all_reduce<float>(ncclFloat32);
  check_all_reduce<double>(ncclFloat64);
  check_all_reduce<__nv_bfloat16>(ncclBfloat16);
}

TEST_F(Nccl, ProductAndAverage) {
  const std::vector<float> mine(3, float(rank + 1));
  float* x = to_device(mine);
  float* y = device_memory<float>(3);
  ASSERT_EQ(ncclSuccess, ncclAllReduce(x, y, 3, ncclFloat32, ncclProd, comm, stream));
  float factorial = 1;
  for (int factor = 2; factor <= size; ++factor) factorial *= float(factor);
  EXPECT_EQ(std::vector<float>(3, factorial), to_host(y, 3));
  ASSERT_EQ(ncclSuccess, ncclAllReduce(x, x, 3, ncclFloat32, ncclAvg, comm, stream));
  EXPECT_EQ(std::vector<float>(3, float(size + 1) / 2), to_host(x, 3));
}

TEST_F(Nccl, ReduceScatterAndReduce) {
  constexpr size_t kCount = 5;
  const size_t all = kCount * size_t(size);
  float* send = to_device(values<float>(all, rank));
  float* receive = device_memory<float>(kCount);
  ASSERT_EQ(ncclSuccess, ncclReduceScatter(send, receive, kCount, ncclFloat32, ncclSum, comm, stream));
  const std::vector<float> mine = to_host(receive, kCount);
  for (size_t i = 0; i < kCount; ++i) EXPECT_EQ(float(expected(ncclSum, size_t(rank) * kCount + i)), mine[i]);
  const int root = size - 1;
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(receive, 0, kCount * 4, stream));
  ASSERT_EQ(ncclSuccess, ncclReduce(send, receive, kCount, ncclFloat32, ncclSum, root, comm, stream));
  const std::vector<float> reduced = to_host(receive, kCount);
  for (size_t i = 0; i < kCount; ++i)
    EXPECT_EQ(rank == root ? float(expected(ncclSum, i)) : 0.0f, reduced[i]);
}

TEST_F(Nccl, Broadcast) {
  const int root = size / 2;
  float* x = to_device(values<float>(6, rank));
  float* y = device_memory<float>(6);
  ASSERT_EQ(ncclSuccess, ncclBroadcast(x, y, 6, ncclFloat32, root, comm, stream));
  EXPECT_EQ(values<float>(6, root), to_host(y, 6));
  ASSERT_EQ(ncclSuccess, ncclBcast(x, 6, ncclFloat32, root, comm, stream));
  EXPECT_EQ(values<float>(6, root), to_host(x, 6));
}

TEST_F(Nccl, SendsAroundARing) {
  const int next = (rank + 1) % size, previous = (rank + size - 1) % size;
  float* x = to_device(values<float>(6, rank));
  float* y = device_memory<float>(8);
  ASSERT_EQ(ncclSuccess, ncclGroupStart());
  // Two messages to one peer arrive in order.
  EXPECT_EQ(ncclSuccess, ncclSend(x, 6, ncclFloat32, next, comm, stream));
  EXPECT_EQ(ncclSuccess, ncclRecv(y, 6, ncclFloat32, previous, comm, stream));
  EXPECT_EQ(ncclSuccess, ncclSend(x + 1, 2, ncclFloat32, next, comm, stream));
  EXPECT_EQ(ncclSuccess, ncclRecv(y + 6, 2, ncclFloat32, previous, comm, stream));
  ASSERT_EQ(ncclSuccess, ncclGroupEnd());
  std::vector<float> expected = values<float>(6, previous);
  expected.push_back(expected[1]);
  expected.push_back(expected[2]);
  EXPECT_EQ(expected, to_host(y, 8));
}

TEST_F(Nccl, AllToAllOfUnequalParts) {
  // Rank r sends r + p + 1 elements to rank p, none to itself.
  std::vector<float> mine(64, float(rank));
  float* x = to_device(mine);
  float* y = device_memory<float>(64);
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(y, 0xff, 256, stream));
  ASSERT_EQ(ncclSuccess, ncclGroupStart());
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    const auto count = size_t(rank + peer + 1);
    EXPECT_EQ(ncclSuccess, ncclSend(x, count, ncclFloat32, peer, comm, stream));
    EXPECT_EQ(ncclSuccess, ncclRecv(y + 8 * peer, count, ncclFloat32, peer, comm, stream));
  }
  ASSERT_EQ(ncclSuccess, ncclGroupEnd());
  const std::vector<float> got = to_host(y, 64);
  for (int peer = 0; peer < size; ++peer) {
    for (int i = 0; i < 8; ++i) {
      const bool is_sent = peer != rank && i < rank + peer + 1;
      EXPECT_EQ(is_sent, got[size_t(8 * peer + i)] == float(peer)) << peer << " " << i;
    }
  }
}

TEST_F(Nccl, SplitMakesSmallerCommunicators) {
  ncclComm_t part = nullptr;
  ASSERT_EQ(ncclSuccess, ncclCommSplit(comm, rank % 2, -rank, &part, nullptr));
  int part_size = 0, part_rank = 0;
  EXPECT_EQ(ncclSuccess, ncclCommCount(part, &part_size));
  EXPECT_EQ(ncclSuccess, ncclCommUserRank(part, &part_rank));
  EXPECT_EQ((size + (rank % 2 == 0 ? 1 : 0)) / 2, part_size);
  float* x = to_device(std::vector<float>{1});
  ASSERT_EQ(ncclSuccess, ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, part, stream));
  EXPECT_EQ(std::vector<float>{float(part_size)}, to_host(x, 1));
  EXPECT_EQ(ncclSuccess, ncclCommFinalize(part));
  EXPECT_EQ(ncclSuccess, ncclCommDestroy(part));
  ncclComm_t none = comm;
  ASSERT_EQ(ncclSuccess, ncclCommSplit(comm, rank == 0 ? 0 : NCCL_SPLIT_NOCOLOR, 0, &none, nullptr));
  EXPECT_EQ(rank == 0, none != nullptr);
  EXPECT_EQ(ncclSuccess, ncclCommDestroy(none));
}

TEST_F(Nccl, TwoCommunicatorsOnTwoStreamsDoNotBlockEachOther) {
  ncclComm_t second = make_communicator();
  float* x = to_device(std::vector<float>{1});
  float* y = to_device(std::vector<float>{2});
  for (int step = 0; step < 5; ++step) {
    // Ranks call the two in different orders.
    for (int i = 0; i < 2; ++i) {
      const bool is_first = (i + rank) % 2 == 0;
      ASSERT_EQ(ncclSuccess, is_first ? ncclAllReduce(x, x, 1, ncclFloat32, ncclMax, comm, stream)
                                      : ncclAllReduce(y, y, 1, ncclFloat32, ncclMax, second, other_stream));
    }
  }
  ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
  EXPECT_EQ(std::vector<float>{1}, to_host(x, 1));
  EXPECT_EQ(ncclSuccess, ncclCommDestroy(second));
}

TEST_F(Nccl, DeviceWorksWhileTheHostWaitsInMpi) {
  float* x = to_device(std::vector<float>{1});
  ASSERT_EQ(ncclSuccess, ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, comm, stream));
  if (rank == 0) {
    EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  }
  MPI_Barrier(MPI_COMM_WORLD);  // the others come here with the collective still queued
  EXPECT_EQ(std::vector<float>{float(size)}, to_host(x, 1));
}

TEST_F(Nccl, SumsFollowNoFixedOrder) {
  if (size < 3) GTEST_SKIP() << "two terms have one order";
  const float terms[] = {1e8f, 1, -1e8f, 1};
  std::set<float> seen;
  for (int call = 0; call < size; ++call) {
    float* x = to_device(std::vector<float>{terms[rank % 4]});
    ASSERT_EQ(ncclSuccess, ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, comm, stream));
    const float sum = to_host(x, 1)[0];
    float lowest = 0, highest = 0;
    MPI_Allreduce(&sum, &lowest, 1, MPI_FLOAT, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(&sum, &highest, 1, MPI_FLOAT, MPI_MAX, MPI_COMM_WORLD);
    EXPECT_EQ(lowest, highest) << "ranks got different sums";
    seen.insert(sum);
  }
  EXPECT_GT(seen.size(), 1u);
}

TEST_F(Nccl, HalvesAreRoundedAtEveryHop) {
  if (size != 4) GTEST_SKIP() << "the numbers are for four ranks";
  // 256 + 1 is 256 in bf16: that comes out where rank 0 starts or follows one other rank.  One rounding of
  // 259 gives 260.
  std::set<float> seen;
  for (int call = 0; call < size; ++call) {
    __nv_bfloat16* x = to_device(std::vector<__nv_bfloat16>{__float2bfloat16(rank == 0 ? 256.0f : 1.0f)});
    ASSERT_EQ(ncclSuccess, ncclAllReduce(x, x, 1, ncclBfloat16, ncclSum, comm, stream));
    seen.insert(__bfloat162float(to_host(x, 1)[0]));
  }
  EXPECT_EQ((std::set<float>{256, 260}), seen);
}

TEST_F(Nccl, MissingEventWaitIsReported) {
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaSuccess, cudaEventCreate(&event));
  float* x = to_device(std::vector<float>(64));
  float* y = device_memory<float>(64);
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Options options;
    options.seed = seed;
    set_options(options);
    launch_fill(x, 1, 64, stream);
    ASSERT_EQ(ncclSuccess, ncclAllReduce(x, y, 64, ncclFloat32, ncclSum, comm, other_stream));
    ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
    EXPECT_TRUE(takes_only(ReportKind::stream)) << "seed " << seed;
    launch_fill(x, 1, 64, stream);
    ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
    ASSERT_EQ(cudaSuccess, cudaStreamWaitEvent(other_stream, event, 0));
    ASSERT_EQ(ncclSuccess, ncclAllReduce(x, y, 64, ncclFloat32, ncclSum, comm, other_stream));
    ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
  }
}

TEST_F(Nccl, ChecksArguments) {
  float* x = device_memory<float>(4);
  EXPECT_EQ(ncclInvalidArgument, ncclAllReduce(x, x, 4, ncclFloat32, ncclSum, nullptr, stream));
  EXPECT_EQ(ncclInvalidArgument, ncclAllReduce(nullptr, x, 4, ncclFloat32, ncclSum, comm, stream));
  EXPECT_EQ(ncclInvalidArgument, ncclAllReduce(x, x, 4, ncclDataType_t(12), ncclSum, comm, stream));
  EXPECT_EQ(ncclInvalidArgument, ncclAllReduce(x, x, 4, ncclFloat32, ncclRedOp_t(5), comm, stream));
  EXPECT_EQ(ncclInvalidArgument, ncclBroadcast(x, x, 4, ncclFloat32, size, comm, stream));
  EXPECT_EQ(ncclInvalidArgument, ncclSend(x, 4, ncclFloat32, -1, comm, stream));
  EXPECT_EQ(ncclInvalidUsage, ncclGroupEnd());
  EXPECT_STRNE("", ncclGetLastError(nullptr));
  EXPECT_EQ(ncclSuccess, ncclAllReduce(nullptr, nullptr, 0, ncclFloat32, ncclSum, comm, stream));
  ncclComm_t made = nullptr;
  EXPECT_EQ(ncclInvalidArgument, ncclCommInitRank(&made, size, ncclUniqueId{}, rank));
  EXPECT_EQ(ncclInvalidArgument, ncclCommInitRank(&made, 0, ncclUniqueId{}, 0));
  EXPECT_EQ(ncclInvalidArgument, ncclCommCount(nullptr, nullptr));
  EXPECT_STREQ("no error", ncclGetErrorString(ncclSuccess));
}

TEST_F(Nccl, FailureOnPurpose) {
  Options options;
  options.fail = "collective:2";
  set_options(options);
  float* x = to_device(std::vector<float>{1});
  EXPECT_EQ(ncclSuccess, ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, comm, stream));
  EXPECT_EQ(ncclSystemError, ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, comm, stream));
  EXPECT_EQ(ncclSuccess, ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, comm, stream));
  EXPECT_EQ(std::vector<float>{float(size * size)}, to_host(x, 1));
}

TEST_F(Nccl, AbortDropsWhatIsQueued) {
  ncclComm_t doomed = make_communicator();
  float* x = to_device(std::vector<float>{1});
  if (rank == 0) {
    EXPECT_EQ(ncclSuccess, ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, doomed, stream));
  }
  EXPECT_EQ(ncclSuccess, ncclCommAbort(doomed));
  EXPECT_EQ(std::vector<float>{1}, to_host(x, 1));
  EXPECT_EQ(ncclInvalidArgument, ncclCommAbort(doomed));
}

}  // namespace
}  // namespace simulated_gpu::tests

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  ::testing::InitGoogleTest(&argc, argv);
  int failed = RUN_ALL_TESTS();
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return failed;
}
