#include <cstring>

#include "tests/simulated_gpu/tests/cuda/cuda_test.h"

namespace simulated_gpu::tests {
namespace {

constexpr size_t kBytes = 3 * 4096;

class Pinned : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    host = pinned_memory<char>(kBytes);
    device = device_memory<char>(kBytes);
    std::memset(host, 1, kBytes);
  }

  void copy_in(char* from, cudaStream_t where) {
    ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(device, from, kBytes, cudaMemcpyHostToDevice, where));
  }
  void copy_out(char* to, cudaStream_t where) {
    ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(to, device, kBytes, cudaMemcpyDeviceToHost, where));
  }

  char *host = nullptr, *device = nullptr;
};

TEST_F(Pinned, SourceReusedTooEarly) {
  copy_in(host, stream);
  host[5000] = 2;
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  const std::vector<Report> reports = take_reports();
  ASSERT_EQ(1u, reports.size());
  EXPECT_EQ(ReportKind::stream, reports[0].kind);
  EXPECT_NE(std::string::npos, reports[0].text.find("byte 5000")) << reports[0].text;
  EXPECT_NE(std::string::npos, reports[0].text.find("cudaMemcpyAsync host to device")) << reports[0].text;
  EXPECT_EQ(2, host[5000]);  // the program went on, and the copy took what it found
  EXPECT_EQ(2, to_host(device, kBytes)[5000]);
}

TEST_F(Pinned, SourceReusedAfterTheWait) {
  copy_in(host, stream);
  EXPECT_EQ(1, host[5000]);  // reading is allowed
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  host[5000] = 2;
  EXPECT_EQ(1, to_host(device, kBytes)[5000]);
}

TEST_F(Pinned, TargetReadTooEarly) {
  copy_in(host, stream);
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  char* back = pinned_memory<char>(kBytes);
  copy_out(back, stream);
  const volatile char early = back[0];
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_EQ(char(0xff), early);
  EXPECT_EQ(1, back[0]);
  EXPECT_TRUE(takes_only(ReportKind::stream));
}

TEST_F(Pinned, WaitForAnotherStreamIsNoWait) {
  // Whether or not the copy happens to have run by then.
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Options options;
    options.seed = seed;
    set_options(options);
    copy_in(host, stream);
    ASSERT_EQ(cudaSuccess, cudaLaunchHostFunc(
                               other_stream, [](void*) {}, nullptr));
    ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(other_stream));
    host[0] = 3;
    ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
    EXPECT_TRUE(takes_only(ReportKind::stream)) << "seed " << seed;
  }
}

TEST_F(Pinned, EventWaitIsAWait) {
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaSuccess, cudaEventCreate(&event));
  copy_in(host, stream);
  ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
  ASSERT_EQ(cudaSuccess, cudaEventSynchronize(event));
  host[0] = 3;
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
}

TEST_F(Pinned, NeighbourOnTheSamePageIsFree) {
  ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(device, host, 100, cudaMemcpyHostToDevice, stream));
  host[100] = 9;
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
}

TEST_F(Pinned, RowsLeaveTheGapsFree) {
  ASSERT_EQ(cudaSuccess, cudaMemcpy2DAsync(device, 4096, host, 4096, 100, 3, cudaMemcpyHostToDevice, stream));
  host[4096 + 100] = 9;
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  ASSERT_EQ(cudaSuccess, cudaMemcpy2DAsync(device, 4096, host, 4096, 100, 3, cudaMemcpyHostToDevice, stream));
  host[4096 + 99] = 9;
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_TRUE(takes_only(ReportKind::stream));
}

TEST_F(Pinned, UnorderedCopiesOfOneBuffer) {
  copy_in(host, stream);
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  char* other_device = device_memory<char>(kBytes);
  char* back = pinned_memory<char>(kBytes);
  copy_out(back, stream);
  ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(other_device, back, kBytes, cudaMemcpyHostToDevice, other_stream));
  ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
  EXPECT_TRUE(takes_only(ReportKind::stream));

  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaSuccess, cudaEventCreate(&event));
  copy_out(back, stream);
  ASSERT_EQ(cudaSuccess, cudaEventRecord(event, stream));
  ASSERT_EQ(cudaSuccess, cudaStreamWaitEvent(other_stream, event, 0));
  ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(other_device, back, kBytes, cudaMemcpyHostToDevice, other_stream));
  ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
}

TEST_F(Pinned, RegisteredMemory) {
  std::vector<char> own(4 * kBytes, 1);
  ASSERT_EQ(cudaSuccess, cudaHostRegister(own.data(), own.size(), cudaHostRegisterDefault));
  EXPECT_EQ(cudaErrorHostMemoryAlreadyRegistered,
            cudaHostRegister(own.data() + 5, 10, cudaHostRegisterDefault));
  copy_in(own.data() + 4096, stream);
  own[4096 + 5000] = 2;
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_TRUE(takes_only(ReportKind::stream));
  ASSERT_EQ(cudaSuccess, cudaHostUnregister(own.data()));
  EXPECT_EQ(cudaErrorHostMemoryNotRegistered, cudaHostUnregister(own.data()));
}

TEST_F(Pinned, BadArguments) {
  void* pointer = nullptr;
  unsigned flags = 0;
  int local = 0;
  EXPECT_EQ(cudaErrorInvalidValue, cudaMallocHost(static_cast<void**>(nullptr), 4));
  EXPECT_EQ(cudaErrorInvalidValue, cudaHostAlloc(&pointer, 4, 1024));
  EXPECT_EQ(cudaSuccess, cudaHostAlloc(&pointer, 4, cudaHostAllocPortable));
  EXPECT_EQ(cudaSuccess, cudaHostGetFlags(&flags, pointer));
  EXPECT_EQ(unsigned{cudaHostAllocPortable}, flags);
  EXPECT_EQ(cudaSuccess, cudaFreeHost(pointer));
  EXPECT_EQ(cudaErrorInvalidValue, cudaFreeHost(pointer));
  EXPECT_EQ(cudaSuccess, cudaFreeHost(nullptr));
  EXPECT_EQ(cudaErrorInvalidValue, cudaFreeHost(&local));
  EXPECT_EQ(cudaErrorInvalidValue, cudaHostRegister(nullptr, 4, 0));
  EXPECT_EQ(cudaErrorInvalidValue, cudaHostRegister(&local, 0, 0));
}

}  // namespace
}  // namespace simulated_gpu::tests
