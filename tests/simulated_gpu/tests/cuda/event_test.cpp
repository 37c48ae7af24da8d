#include "tests/simulated_gpu/tests/cuda/cuda_test.h"

namespace simulated_gpu::tests {
namespace {

class Event : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    order().clear();
    ASSERT_EQ(cudaSuccess, cudaEventCreateWithFlags(&event, cudaEventDefault));
  }

  static std::vector<int>& order() {
    static std::vector<int> list;
    return list;
  }

  template <int number>
  static void note(cudaStream_t where) {
    ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(
                               where, [](void*) { order().push_back(number); }, nullptr));
  }

  /// Runs the enqueueing under many seeds; false when some order is not the expected one.
  template <class Enqueue>
  bool is_always(const std::vector<int>& expected, Enqueue enqueue) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      Options options;
      options.seed = seed;
      set_options(options);
      order().clear();
      enqueue();
      EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
      if (order() != expected) return false;
    }
    return true;
  }

  cudaEvent_t event = nullptr;
};

TEST_F(Event, OrdersStreams) {
  EXPECT_TRUE(is_always({1, 2}, [&] {
    note<1>(stream);
    EXPECT_EQ(cudaSuccess, cudaEventRecord(event, stream));
    EXPECT_EQ(cudaSuccess, cudaStreamWaitEvent(other_stream, event, 0));
    note<2>(other_stream);
  }));
  EXPECT_FALSE(is_always({1, 2}, [&] {
    note<1>(stream);
    note<2>(other_stream);
  }));
}

TEST_F(Event, WaitIsForTheRecordOfItsTime) {
  // The second record does not move the wait, which has been called before.
  EXPECT_TRUE(is_always({1, 2, 3}, [&] {
    note<1>(stream);
    EXPECT_EQ(cudaSuccess, cudaEventRecord(event, stream));
    EXPECT_EQ(cudaSuccess, cudaStreamWaitEvent(other_stream, event, 0));
    note<2>(other_stream);
    cudaEvent_t back = nullptr;
    EXPECT_EQ(cudaSuccess, cudaEventCreate(&back));
    EXPECT_EQ(cudaSuccess, cudaEventRecord(back, other_stream));
    EXPECT_EQ(cudaSuccess, cudaStreamWaitEvent(stream, back, 0));
    note<3>(stream);
    EXPECT_EQ(cudaSuccess, cudaEventRecord(event, stream));
    EXPECT_EQ(cudaSuccess, cudaEventDestroy(back));
  }));
}

TEST_F(Event, NeverRecordedHoldsNobodyUp) {
  EXPECT_EQ(cudaSuccess, cudaStreamWaitEvent(stream, event, 0));
  EXPECT_EQ(cudaSuccess, cudaEventQuery(event));
  EXPECT_EQ(cudaSuccess, cudaEventSynchronize(event));
  note<1>(stream);
  EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_EQ(std::vector<int>{1}, order());
}

TEST_F(Event, SynchronizeRunsWhatComesBefore) {
  note<1>(stream);
  ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
  note<2>(stream);
  ASSERT_EQ(cudaSuccess, cudaEventSynchronize(event));
  EXPECT_EQ(std::vector<int>{1}, order());
  EXPECT_EQ(cudaSuccess, cudaEventQuery(event));
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_EQ((std::vector<int>{1, 2}), order());
}

TEST_F(Event, QueryMakesProgress) {
  for (int i = 0; i < 3; ++i) note<1>(stream);
  ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
  int queries = 0;
  while (cudaEventQuery(event) == cudaErrorNotReady) ++queries;
  EXPECT_EQ(3, queries);
  EXPECT_EQ(cudaErrorNotReady, cudaGetLastError());
}

TEST_F(Event, ElapsedTimeCountsOperations) {
  cudaEvent_t end = nullptr;
  ASSERT_EQ(cudaSuccess, cudaEventCreate(&end));
  float milliseconds = -1;
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&milliseconds, event, end));
  ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
  for (int i = 0; i < 4; ++i) note<1>(stream);
  ASSERT_EQ(cudaSuccess, cudaEventRecord(end, stream));
  EXPECT_EQ(cudaErrorNotReady, cudaEventElapsedTime(&milliseconds, event, end));
  ASSERT_EQ(cudaSuccess, cudaEventSynchronize(end));
  ASSERT_EQ(cudaSuccess, cudaEventElapsedTime(&milliseconds, event, end));
  EXPECT_FLOAT_EQ(4e-3f, milliseconds);
  cudaGetLastError();
}

TEST_F(Event, BadArguments) {
  cudaEvent_t untimed = nullptr;
  float milliseconds = 0;
  ASSERT_EQ(cudaSuccess, cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
  ASSERT_EQ(cudaSuccess, cudaEventRecord(untimed, stream));
  ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&milliseconds, event, untimed));
  EXPECT_EQ(cudaErrorInvalidValue, cudaEventElapsedTime(nullptr, event, event));
  EXPECT_EQ(cudaErrorInvalidValue, cudaEventCreateWithFlags(&untimed, 1024));
  EXPECT_EQ(cudaErrorInvalidValue, cudaEventCreate(nullptr));
  EXPECT_EQ(cudaErrorInvalidValue, cudaStreamWaitEvent(stream, event, 8));
  ASSERT_EQ(cudaSuccess, cudaEventDestroy(event));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaEventDestroy(event));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaEventRecord(event, stream));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaEventQuery(event));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaEventSynchronize(nullptr));
}

TEST_F(Event, BelongsToADevice) {
  Options options;
  options.count = 2;
  start(options);
  cudaEvent_t mine = nullptr, theirs = nullptr;
  ASSERT_EQ(cudaSuccess, cudaEventCreate(&mine));
  ASSERT_EQ(cudaSuccess, cudaSetDevice(1));
  ASSERT_EQ(cudaSuccess, cudaEventCreate(&theirs));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaEventRecord(theirs, stream));
  ASSERT_EQ(cudaSuccess, cudaEventRecord(mine, stream));
  cudaStream_t elsewhere = nullptr;
  ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&elsewhere, cudaStreamNonBlocking));
  EXPECT_EQ(cudaSuccess, cudaStreamWaitEvent(elsewhere, mine, 0));
  EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(elsewhere));
}

}  // namespace
}  // namespace simulated_gpu::tests
