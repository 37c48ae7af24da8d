#include "tests/simulated_gpu/tests/cuda/cuda_test.h"
#include "tests/simulated_gpu/tests/cuda/kernels.h"

namespace simulated_gpu::tests {
namespace {

using Launch = CudaTest;

TEST_F(Launch, Adds) {
  constexpr int kCount = 1000;
  const float* a = to_device(std::vector<float>(kCount, 1.5f));
  const float* b = to_device(std::vector<float>(kCount, 2.0f));
  float* c = device_memory<float>(kCount);
  launch_add(a, b, c, kCount, stream);
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
  EXPECT_EQ(std::vector<float>(kCount, 3.5f), to_host(c, kCount));
}

TEST_F(Launch, ArgumentsAreReadAtTheCall) {
  float value = 4;
  float* x = device_memory<float>(32);
  launch_fill(x, value, 32, stream);
  value = 5;
  EXPECT_EQ(std::vector<float>(32, 4.0f), to_host(x, 32));
}

TEST_F(Launch, DynamicSharedMemory) {
  const float* x = to_device(std::vector<float>(256, 0.5f));
  float* sum = device_memory<float>(1);
  launch_shared_sum(x, sum, 256, 256 * sizeof(float), stream);
  EXPECT_EQ(std::vector<float>{128}, to_host(sum, 1));
}

TEST_F(Launch, SharedMemoryBeyondWhatWasAskedFor) {
  const float* x = to_device(std::vector<float>(256, 0.5f));
  float* sum = device_memory<float>(1);
  launch_shared_sum(x, sum, 256, 255 * sizeof(float), stream);
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  bool is_found = false;
  for (const Report& report : take_reports()) is_found |= report.kind == ReportKind::memory;
  EXPECT_TRUE(is_found);
}

TEST_F(Launch, MoreThan48KiBMustBeAskedFor) {
  const float* x = to_device(std::vector<float>(32, 1));
  float* sum = device_memory<float>(1);
  launch_shared_sum(x, sum, 32, 48 * 1024, stream);
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
  launch_shared_sum(x, sum, 32, 48 * 1024 + 1, stream);
  EXPECT_EQ(cudaErrorInvalidValue, cudaGetLastError());
  ASSERT_EQ(cudaSuccess, cudaFuncSetAttribute(shared_sum_function(),
                                              cudaFuncAttributeMaxDynamicSharedMemorySize, 100 * 1024));
  launch_shared_sum(x, sum, 32, 100 * 1024, stream);
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
  launch_shared_sum(x, sum, 32, 100 * 1024 + 1, stream);
  EXPECT_EQ(cudaErrorInvalidValue, cudaGetLastError());
  EXPECT_EQ(std::vector<float>{32}, to_host(sum, 1));
}

TEST_F(Launch, SharedMemoryLimitIsTheModels) {
  for (const auto& [model, limit] :
       {std::pair{"a100", 163}, std::pair{"h100", 227}, std::pair{"b200", 227}}) {
    Options options;
    options.device = model;
    start(options);
    const auto set = [](int bytes) {
      return cudaFuncSetAttribute(shared_sum_function(), cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    };
    EXPECT_EQ(cudaSuccess, set(limit * 1024)) << model;
    EXPECT_EQ(cudaErrorInvalidValue, set(limit * 1024 + 1)) << model;
    // Static shared memory counts too: 32 KiB of it.
    const int rest = (limit - 32) * 1024;
    EXPECT_EQ(cudaSuccess,
              cudaFuncSetAttribute(bounded_function(), cudaFuncAttributeMaxDynamicSharedMemorySize, rest));
    EXPECT_EQ(
        cudaErrorInvalidValue,
        cudaFuncSetAttribute(bounded_function(), cudaFuncAttributeMaxDynamicSharedMemorySize, rest + 1));
    EXPECT_EQ(cudaErrorInvalidValue, cudaGetLastError());
  }
}

TEST_F(Launch, BlockAndGridLimits) {
  float* x = to_device(std::vector<float>(128, 1));
  const auto launch = [&](dim3 grid, dim3 block) {
    int n = 128;
    float value = 2;
    void* arguments[] = {&x, &value, &n};
    return cudaLaunchKernel(fill_function(), grid, block, arguments, 0, stream);
  };
  EXPECT_EQ(cudaSuccess, launch({1, 1, 1}, {1024, 1, 1}));
  EXPECT_EQ(cudaErrorInvalidConfiguration, launch({1, 1, 1}, {1025, 1, 1}));
  EXPECT_EQ(cudaErrorInvalidConfiguration, launch({1, 1, 1}, {64, 32, 1}));
  EXPECT_EQ(cudaErrorInvalidConfiguration, launch({1, 1, 1}, {1, 1, 65}));
  EXPECT_EQ(cudaErrorInvalidConfiguration, launch({0, 1, 1}, {32, 1, 1}));
  EXPECT_EQ(cudaErrorInvalidConfiguration, launch({1, 1, 1}, {0, 1, 1}));
  EXPECT_EQ(cudaErrorInvalidConfiguration, launch({1, 65536, 1}, {32, 1, 1}));
  EXPECT_EQ(cudaErrorInvalidConfiguration, launch({1, 1, 65536}, {32, 1, 1}));
  EXPECT_EQ(cudaErrorInvalidConfiguration, cudaGetLastError());
  EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
}

TEST_F(Launch, LaunchBoundsAreALimit) {
  float* x = device_memory<float>(256);
  launch_bounded(x, 128, stream);
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
  launch_bounded(x, 160, stream);
  EXPECT_EQ(cudaErrorInvalidValue, cudaGetLastError());
  EXPECT_EQ(127.0f, to_host(x, 128)[0]);
}

TEST_F(Launch, BadHandles) {
  float* x = device_memory<float>(32);
  int n = 32;
  float value = 2;
  void* arguments[] = {&x, &value, &n};
  EXPECT_EQ(cudaErrorInvalidDeviceFunction,
            cudaLaunchKernel(&n, {1, 1, 1}, {32, 1, 1}, arguments, 0, stream));
  cudaStream_t gone = nullptr;
  ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&gone, cudaStreamNonBlocking));
  ASSERT_EQ(cudaSuccess, cudaStreamDestroy(gone));
  EXPECT_EQ(cudaErrorInvalidResourceHandle,
            cudaLaunchKernel(fill_function(), {1, 1, 1}, {32, 1, 1}, arguments, 0, gone));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaGetLastError());
}

TEST_F(Launch, ExtensibleLaunch) {
  float* x = device_memory<float>(32);
  int n = 32;
  float value = 7;
  void* arguments[] = {&x, &value, &n};
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = {1, 1, 1};
  configuration.blockDim = {32, 1, 1};
  configuration.stream = stream;
  ASSERT_EQ(cudaSuccess, cudaLaunchKernelExC(&configuration, fill_function(), arguments));
  EXPECT_EQ(std::vector<float>(32, 7.0f), to_host(x, 32));
  EXPECT_EQ(cudaErrorInvalidValue, cudaLaunchKernelExC(nullptr, fill_function(), arguments));
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  configuration.attrs = &attribute;
  configuration.numAttrs = 1;
  EXPECT_EXIT(cudaLaunchKernelExC(&configuration, fill_function(), arguments), ::testing::ExitedWithCode(86),
              "launch attribute 4 is not simulated");
}

TEST_F(Launch, TrapSticksToTheDevice) {
  float* x = device_memory<float>(32);
  launch_trap(stream);
  launch_fill(x, 1, 32, stream);
  EXPECT_EQ(cudaSuccess, cudaGetLastError());  // not run yet
  EXPECT_EQ(cudaErrorLaunchFailure, cudaStreamSynchronize(stream));
  EXPECT_EQ(cudaErrorLaunchFailure, cudaGetLastError());
  EXPECT_EQ(cudaErrorLaunchFailure, cudaGetLastError());  // not cleared
  EXPECT_EQ(cudaErrorLaunchFailure, cudaPeekAtLastError());
  void* more = nullptr;
  EXPECT_EQ(cudaErrorLaunchFailure, cudaMalloc(&more, 4));
  EXPECT_EQ(cudaErrorLaunchFailure, cudaDeviceSynchronize());
  EXPECT_EQ(cudaErrorLaunchFailure, cudaFree(x));
  EXPECT_TRUE(takes_only(ReportKind::usage));
  ASSERT_EQ(cudaSuccess, cudaDeviceReset());
  EXPECT_EQ(cudaErrorLaunchFailure, cudaGetLastError());  // of the calls above
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
  EXPECT_EQ(cudaSuccess, cudaMalloc(&more, 4));
}

TEST_F(Launch, FailedAssert) {
  launch_assert(1, stream);
  EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  launch_assert(2, stream);
  EXPECT_EQ(cudaErrorAssert, cudaStreamSynchronize(stream));
  const std::vector<Report> reports = take_reports();
  ASSERT_EQ(1u, reports.size());
  EXPECT_NE(std::string::npos, describe(reports[0]).find("value == 1")) << describe(reports[0]);
  EXPECT_NE(std::string::npos, reports[0].source.find("kernels.cu:")) << reports[0].source;
}

TEST_F(Launch, Deadlock) {
  launch_deadlock(stream);
  EXPECT_EQ(cudaErrorLaunchTimeout, cudaStreamSynchronize(stream));
  EXPECT_TRUE(takes_only(ReportKind::synchronisation));
}

TEST_F(Launch, AttributesAndOccupancy) {
  cudaFuncAttributes attributes{};
  ASSERT_EQ(cudaSuccess, cudaFuncGetAttributes(&attributes, bounded_function()));
  EXPECT_EQ(32768u, attributes.sharedSizeBytes);
  EXPECT_EQ(128, attributes.maxThreadsPerBlock);
  EXPECT_EQ(16 * 1024, attributes.maxDynamicSharedSizeBytes);
  EXPECT_EQ(cudaErrorInvalidDeviceFunction, cudaFuncGetAttributes(&attributes, &attributes));
  const auto blocks = [](const void* function, int threads, size_t shared) {
    int count = -1;
    EXPECT_EQ(cudaSuccess, cudaOccupancyMaxActiveBlocksPerMultiprocessor(&count, function, threads, shared));
    return count;
  };
  EXPECT_EQ(6, blocks(bounded_function(), 128, 0));             // 228 KiB / (32 + 1)
  EXPECT_EQ(8, blocks(shared_sum_function(), 256, 0));          // 2048 threads
  EXPECT_EQ(32, blocks(shared_sum_function(), 32, 0));          // block slots
  EXPECT_EQ(2, blocks(shared_sum_function(), 32, 100 * 1024));  // 228 / 101
  EXPECT_EQ(0, blocks(shared_sum_function(), 2048, 0));
  EXPECT_EQ(cudaErrorInvalidValue,
            cudaOccupancyMaxActiveBlocksPerMultiprocessor(nullptr, bounded_function(), 32, 0));
}

TEST_F(Launch, IndependentLanesAndNoChecks) {
  for (const char* lanes : {"together", "independent"}) {
    for (const bool check : {true, false}) {
      Options options;
      options.lanes = lanes;
      options.check = check;
      start(options);
      const float* x = to_device(std::vector<float>(96, 0.5f));
      float* sum = device_memory<float>(1);
      launch_shared_sum(x, sum, 96, 96 * sizeof(float), stream);
      EXPECT_EQ(std::vector<float>{48}, to_host(sum, 1)) << lanes << check;
    }
  }
}

}  // namespace
}  // namespace simulated_gpu::tests
