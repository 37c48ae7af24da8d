#include <set>

#include "tests/simulated_gpu/tests/cuda/cuda_test.h"
#include "tests/simulated_gpu/tests/cuda/kernels.h"

namespace simulated_gpu::tests {
namespace {

using Stream = CudaTest;

TEST_F(Stream, WorkWaitsForTheHost) {
  int ran = 0;
  const auto count = [](void* data) { ++*static_cast<int*>(data); };
  ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(stream, count, &ran));
  EXPECT_EQ(0, ran);
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_EQ(1, ran);
}

TEST_F(Stream, EagerModeRunsAtOnce) {
  Options options;
  options.schedule = "eager";
  start(options);
  int ran = 0;
  ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(
                             stream, [](void* data) { ++*static_cast<int*>(data); }, &ran));
  EXPECT_EQ(1, ran);
}

/// The order in which five operations on each of two streams run.
std::vector<int> interleaving(cudaStream_t first, cudaStream_t second) {
  static std::vector<int> order;
  order.clear();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(cudaSuccess, cudaLaunchHostFunc(
                               first, [](void*) { order.push_back(1); }, nullptr));
    EXPECT_EQ(cudaSuccess, cudaLaunchHostFunc(
                               second, [](void*) { order.push_back(2); }, nullptr));
  }
  EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
  return order;
}

TEST_F(Stream, InterleavingFollowsTheSeed) {
  std::set<std::vector<int>> seen;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Options options;
    options.seed = seed;
    start(options);
    const std::vector<int> once = interleaving(stream, other_stream);
    start(options);
    EXPECT_EQ(once, interleaving(stream, other_stream)) << "seed " << seed;
    seen.insert(once);
  }
  EXPECT_GT(seen.size(), 10u);
}

TEST_F(Stream, StarvedStreamRunsLast) {
  Options options;
  options.schedule = "starve:0";
  set_options(options);
  EXPECT_EQ((std::vector<int>{2, 2, 2, 2, 2, 1, 1, 1, 1, 1}), interleaving(stream, other_stream));
  options.schedule = "starve:1";
  set_options(options);
  EXPECT_EQ((std::vector<int>{1, 1, 1, 1, 1, 2, 2, 2, 2, 2}), interleaving(stream, other_stream));
}

TEST_F(Stream, QueryMakesProgress) {
  ASSERT_EQ(cudaSuccess, cudaStreamQuery(stream));
  int ran = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(
                               stream, [](void* data) { ++*static_cast<int*>(data); }, &ran));
  }
  int queries = 0;
  while (cudaStreamQuery(stream) == cudaErrorNotReady) ++queries;
  EXPECT_EQ(3, ran);
  EXPECT_EQ(2, queries);
  EXPECT_EQ(cudaErrorNotReady, cudaGetLastError());
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
}

TEST_F(Stream, HostFunctionMayNotCallCuda) {
  static cudaError_t inner;
  ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(
                             stream,
                             [](void*) {
                               void* pointer = nullptr;
                               inner = cudaMalloc(&pointer, 4);
                             },
                             nullptr));
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_EQ(cudaErrorNotPermitted, inner);
  EXPECT_EQ(cudaErrorInvalidValue, cudaLaunchHostFunc(stream, nullptr, nullptr));
}

TEST_F(Stream, DestroyedStreamStillFinishes) {
  int ran = 0;
  cudaStream_t doomed = nullptr;
  ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&doomed, cudaStreamNonBlocking));
  ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(
                             doomed, [](void* data) { ++*static_cast<int*>(data); }, &ran));
  ASSERT_EQ(cudaSuccess, cudaStreamDestroy(doomed));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaStreamSynchronize(doomed));
  ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
  EXPECT_EQ(1, ran);
}

TEST_F(Stream, PropertiesAndBadArguments) {
  cudaStream_t made = nullptr;
  int lowest = 1, highest = 1, priority = 1, device = -1;
  unsigned flags = 0;
  ASSERT_EQ(cudaSuccess, cudaDeviceGetStreamPriorityRange(&lowest, &highest));
  EXPECT_EQ(0, lowest);
  EXPECT_EQ(-5, highest);
  ASSERT_EQ(cudaSuccess, cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, -100));
  EXPECT_EQ(cudaSuccess, cudaStreamGetPriority(made, &priority));
  EXPECT_EQ(-5, priority);
  EXPECT_EQ(cudaSuccess, cudaStreamGetFlags(made, &flags));
  EXPECT_EQ(unsigned{cudaStreamNonBlocking}, flags);
  EXPECT_EQ(cudaSuccess, cudaStreamGetDevice(made, &device));
  EXPECT_EQ(0, device);
  EXPECT_EQ(cudaSuccess, cudaStreamDestroy(made));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaStreamDestroy(made));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaStreamDestroy(nullptr));
  EXPECT_EQ(cudaErrorInvalidValue, cudaStreamCreateWithFlags(&made, 64));
  EXPECT_EQ(cudaErrorInvalidValue, cudaStreamCreate(nullptr));
}

TEST_F(Stream, DefaultStreamIsReportedAndOrdersBlockingStreams) {
  static std::vector<int> order;
  order.clear();
  cudaStream_t blocking = nullptr;
  ASSERT_EQ(cudaSuccess, cudaStreamCreate(&blocking));
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(
                               blocking, [](void*) { order.push_back(1); }, nullptr));
    ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(
                               nullptr, [](void*) { order.push_back(0); }, nullptr));
  }
  ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
  EXPECT_EQ((std::vector<int>{1, 0, 1, 0, 1, 0}), order);
  EXPECT_TRUE(takes_only(ReportKind::usage));
}

TEST_F(Stream, WorkOfAnotherDeviceIsRefused) {
  Options options;
  options.count = 2;
  start(options);
  float* x = device_memory<float>(32);
  ASSERT_EQ(cudaSuccess, cudaSetDevice(1));
  launch_fill(x, 1, 32, stream);
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaGetLastError());
}

}  // namespace
}  // namespace simulated_gpu::tests
