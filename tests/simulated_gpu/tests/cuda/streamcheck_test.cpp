// Operations on one buffer that nothing orders are found at every seed, whatever the interleaving; the legal
// near-miss is not reported.
#include <cublas_v2.h>

#include <functional>

#include "tests/simulated_gpu/tests/cuda/cuda_test.h"
#include "tests/simulated_gpu/tests/cuda/kernels.h"

namespace simulated_gpu::tests {
namespace {

constexpr int kCount = 64;
constexpr size_t kBytes = kCount * sizeof(float);

class StreamCheck : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    ASSERT_EQ(cudaSuccess, cudaEventCreate(&event));
    x = to_device(std::vector<float>(kCount, 1.0f));
    y = to_device(std::vector<float>(kCount, 2.0f));
    z = to_device(std::vector<float>(kCount, 3.0f));
  }

  void order_other_after_stream() {
    ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
    ASSERT_EQ(cudaSuccess, cudaStreamWaitEvent(other_stream, event, 0));
  }

  using Enqueue = std::function<void(cudaStream_t)>;

  /// First on `stream`, second on the other one: reported at every seed without the event, at none with it.
  void expect_conflict(const Enqueue& first, const Enqueue& second) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      for (const char* schedule : {"random", "eager", "starve:0", "starve:1"}) {
        Options options;
        options.seed = seed;
        options.schedule = schedule;
        set_options(options);
        first(stream);
        second(other_stream);
        ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
        EXPECT_TRUE(takes_only(ReportKind::stream)) << "seed " << seed << ", " << schedule;
        first(stream);
        order_other_after_stream();
        second(other_stream);
        ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
        EXPECT_TRUE(take_reports().empty()) << "seed " << seed << ", " << schedule;
      }
    }
  }

  Enqueue set(float* target) {
    return
        [target](cudaStream_t where) { ASSERT_EQ(cudaSuccess, cudaMemsetAsync(target, 0, kBytes, where)); };
  }
  Enqueue copy(float* to, const float* from) {
    return [=](cudaStream_t where) {
      ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(to, from, kBytes, cudaMemcpyDeviceToDevice, where));
    };
  }
  Enqueue add(const float* a, const float* b, float* c) {
    return [=](cudaStream_t where) { launch_add(a, b, c, kCount, where); };
  }

  cudaEvent_t event = nullptr;
  float *x = nullptr, *y = nullptr, *z = nullptr;
};

TEST_F(StreamCheck, ReadAfterWrite) { expect_conflict(set(x), copy(y, x)); }
TEST_F(StreamCheck, WriteAfterRead) { expect_conflict(copy(y, x), set(x)); }
TEST_F(StreamCheck, WriteAfterWrite) { expect_conflict(set(x), set(x)); }
TEST_F(StreamCheck, LaunchReadsCopy) { expect_conflict(copy(x, z), add(x, z, y)); }
TEST_F(StreamCheck, LaunchOverwritesWhatALaunchReads) { expect_conflict(add(x, y, z), add(y, y, x)); }

TEST_F(StreamCheck, TwoReadersNeedNoOrder) {
  copy(y, x)(stream);
  copy(z, x)(other_stream);
  EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
}

TEST_F(StreamCheck, NeighboursNeedNoOrder) {
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(x, 0, kBytes / 2, stream));
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(x + kCount / 2, 0, kBytes / 2, other_stream));
  EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
}

TEST_F(StreamCheck, HostWaitIsAnOrder) {
  set(x)(stream);
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  copy(y, x)(other_stream);
  EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
}

TEST_F(StreamCheck, FinishedQueryIsAnOrder) {
  set(x)(stream);
  while (cudaStreamQuery(stream) == cudaErrorNotReady) {
  }
  copy(y, x)(other_stream);
  EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
  cudaGetLastError();
}

TEST_F(StreamCheck, EventRecordedTooEarlyIsNone) {
  ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
  set(x)(stream);
  ASSERT_EQ(cudaSuccess, cudaStreamWaitEvent(other_stream, event, 0));
  copy(y, x)(other_stream);
  EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
  EXPECT_TRUE(takes_only(ReportKind::stream));
}

TEST_F(StreamCheck, OrderPassesThroughAThirdStream) {
  cudaStream_t third = nullptr;
  cudaEvent_t second_event = nullptr;
  ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&third, cudaStreamNonBlocking));
  ASSERT_EQ(cudaSuccess, cudaEventCreate(&second_event));
  set(x)(stream);
  ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
  ASSERT_EQ(cudaSuccess, cudaStreamWaitEvent(third, event, 0));
  ASSERT_EQ(cudaSuccess, cudaEventRecord(second_event, third));
  ASSERT_EQ(cudaSuccess, cudaStreamWaitEvent(other_stream, second_event, 0));
  copy(y, x)(other_stream);
  EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
}

TEST_F(StreamCheck, StreamOrderedReleaseMustComeAfterTheUse) {
  void* block = nullptr;
  ASSERT_EQ(cudaSuccess, cudaMallocAsync(&block, kBytes, stream));
  set(static_cast<float*>(block))(stream);
  order_other_after_stream();
  copy(y, static_cast<float*>(block))(other_stream);
  ASSERT_EQ(cudaSuccess, cudaFreeAsync(block, stream));
  EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
  for (const Report& report : take_reports()) {
    EXPECT_TRUE(report.kind == ReportKind::stream || report.kind == ReportKind::memory) << describe(report);
    block = nullptr;
  }
  EXPECT_EQ(nullptr, block) << "no report";
}

TEST_F(StreamCheck, MatrixProduct) {
  cublasHandle_t handle = nullptr;
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasCreate(&handle));
  const Enqueue product = [&](cudaStream_t where) {
    const float one = 1, zero = 0;
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetStream(handle, where));
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
              cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 8, 8, 8, &one, x, 8, y, 8, &zero, z, 8));
  };
  expect_conflict(set(x), product);
  expect_conflict(product, set(y));
  expect_conflict(product, copy(y, z));
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasDestroy(handle));
}

TEST_F(StreamCheck, SharedWorkspaceOfMatrixProducts) {
  cublasHandle_t handle = nullptr;
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasCreate(&handle));
  char* workspace = device_memory<char>(4096);
  float* outputs[2] = {device_memory<float>(64), device_memory<float>(64)};
  int next = 0;
  const Enqueue product = [&](cudaStream_t where) {
    const float one = 1, zero = 0;
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetStream(handle, where));
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetWorkspace(handle, workspace, 4096));
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 8, 8, 8, &one, x, 8, y, 8,
                                                 &zero, outputs[next++ % 2], 8));
  };
  expect_conflict(product, product);
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasDestroy(handle));
}

}  // namespace
}  // namespace simulated_gpu::tests
