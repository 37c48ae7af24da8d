#include <cstring>

#include "tests/simulated_gpu/tests/cuda/cuda_test.h"
#include "tests/simulated_gpu/tests/cuda/kernels.h"

namespace simulated_gpu::tests {
namespace {

using Memory = CudaTest;

constexpr auto kNoKind = cudaMemcpyKind(7);

TEST_F(Memory, RunsOutWithoutHarm) {
  Options options;
  options.memory = 1 << 20;
  start(options);
  size_t free_bytes = 0, total = 0;
  ASSERT_EQ(cudaSuccess, cudaMemGetInfo(&free_bytes, &total));
  EXPECT_EQ(size_t{1} << 20, total);
  void *all = nullptr, *more = nullptr;
  EXPECT_EQ(cudaErrorMemoryAllocation, cudaMalloc(&more, total + 1));
  EXPECT_EQ(nullptr, more);
  EXPECT_EQ(cudaErrorMemoryAllocation, cudaPeekAtLastError());
  EXPECT_EQ(cudaErrorMemoryAllocation, cudaGetLastError());
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
  ASSERT_EQ(cudaSuccess, cudaMalloc(&all, total / 4 * 3));
  EXPECT_EQ(cudaErrorMemoryAllocation, cudaMalloc(&more, total / 2));
  ASSERT_EQ(cudaSuccess, cudaFree(all));
  ASSERT_EQ(cudaSuccess, cudaMalloc(&more, total / 2));
  EXPECT_EQ(cudaSuccess, cudaFree(more));
}

TEST_F(Memory, BadArguments) {
  void* pointer = &pointer;
  EXPECT_EQ(cudaErrorInvalidValue, cudaMalloc(static_cast<void**>(nullptr), 16));
  EXPECT_EQ(cudaSuccess, cudaMalloc(&pointer, 0));
  EXPECT_EQ(nullptr, pointer);
  EXPECT_EQ(cudaSuccess, cudaFree(nullptr));
  EXPECT_EQ(cudaErrorInvalidValue, cudaFree(&pointer));
  char* block = device_memory<char>(64);
  EXPECT_EQ(cudaErrorInvalidValue, cudaFree(block + 16));
  EXPECT_EQ(cudaSuccess, cudaFree(block));
  EXPECT_EQ(cudaErrorInvalidValue, cudaFree(block));
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemGetInfo(nullptr, nullptr));
}

TEST_F(Memory, CopiesThereAndBack) {
  std::vector<int> values(1000);
  for (int i = 0; i < 1000; ++i) values[size_t(i)] = i * i;
  const int* device = to_device(values);
  int* second = device_memory<int>(1000);
  ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(second, device, 4000, cudaMemcpyDefault, stream));
  EXPECT_EQ(values, to_host(second, 1000));
}

TEST_F(Memory, CopyChecksItsArguments) {
  int* device = device_memory<int>(16);
  int* host = pinned_memory<int>(16);
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpyAsync(host, device, 64, cudaMemcpyHostToDevice, stream));
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpyAsync(device, host, 65, cudaMemcpyHostToDevice, stream));
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpyAsync(nullptr, host, 64, cudaMemcpyHostToDevice, stream));
  EXPECT_EQ(cudaErrorInvalidMemcpyDirection, cudaMemcpyAsync(device, host, 64, kNoKind, stream));
  EXPECT_EQ(cudaSuccess, cudaMemcpyAsync(nullptr, nullptr, 0, cudaMemcpyHostToDevice, stream));
  EXPECT_EQ(cudaErrorInvalidPitchValue,
            cudaMemcpy2DAsync(device, 4, host, 8, 8, 2, cudaMemcpyHostToDevice, stream));
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemsetAsync(host, 0, 64, stream));
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemsetAsync(device, 0, 65, stream));
  EXPECT_EQ(cudaErrorInvalidValue, cudaGetLastError());
}

TEST_F(Memory, CopiesRows) {
  int* from = pinned_memory<int>(12);
  for (int i = 0; i < 12; ++i) from[i] = i;
  int* device = device_memory<int>(15);
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(device, 0, 60, stream));
  // Two of four columns, into rows of five.
  ASSERT_EQ(cudaSuccess, cudaMemcpy2DAsync(device, 20, from, 16, 8, 3, cudaMemcpyHostToDevice, stream));
  EXPECT_EQ((std::vector<int>{0, 1, 0, 0, 0, 4, 5, 0, 0, 0, 8, 9, 0, 0, 0}), to_host(device, 15));
}

TEST_F(Memory, Memset) {
  unsigned char* device = device_memory<unsigned char>(8);
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(device, 7, 8, stream));
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(device + 2, 0x1ff, 3, stream));
  EXPECT_EQ((std::vector<unsigned char>{7, 7, 255, 255, 255, 7, 7, 7}), to_host(device, 8));
}

TEST_F(Memory, PageableCopyIsReported) {
  std::vector<float> host(4, 1.0f);
  float* device = device_memory<float>(4);
  ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(device, host.data(), 16, cudaMemcpyHostToDevice, stream));
  host.assign(4, 2.0f);  // the source was read at the call
  EXPECT_TRUE(takes_only(ReportKind::usage));
  EXPECT_EQ(std::vector<float>(4, 1.0f), to_host(device, 4));
  ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(host.data(), device, 16, cudaMemcpyDeviceToHost, stream));
  EXPECT_EQ(std::vector<float>(4, 1.0f), host);  // the call has waited
  EXPECT_TRUE(takes_only(ReportKind::usage));
}

TEST_F(Memory, SynchronousCallsUseTheDefaultStream) {
  const std::vector<float> host(4, 3.0f);
  std::vector<float> back(4);
  float* device = device_memory<float>(4);
  ASSERT_EQ(cudaSuccess, cudaMemcpy(device, host.data(), 16, cudaMemcpyHostToDevice));
  ASSERT_EQ(cudaSuccess, cudaMemcpy(back.data(), device, 16, cudaMemcpyDeviceToHost));
  EXPECT_EQ(host, back);
  ASSERT_EQ(cudaSuccess, cudaMemset(device, 0, 16));
  EXPECT_TRUE(takes_only(ReportKind::usage));
}

TEST_F(Memory, PointerAttributes) {
  int on_host = 0;
  cudaPointerAttributes attributes{};
  char* device = device_memory<char>(16);
  char* pinned = pinned_memory<char>(16);
  ASSERT_EQ(cudaSuccess, cudaPointerGetAttributes(&attributes, device + 3));
  EXPECT_EQ(cudaMemoryTypeDevice, attributes.type);
  EXPECT_EQ(0, attributes.device);
  ASSERT_EQ(cudaSuccess, cudaPointerGetAttributes(&attributes, pinned));
  EXPECT_EQ(cudaMemoryTypeHost, attributes.type);
  ASSERT_EQ(cudaSuccess, cudaPointerGetAttributes(&attributes, &on_host));
  EXPECT_EQ(cudaMemoryTypeUnregistered, attributes.type);
  EXPECT_EQ(cudaErrorInvalidValue, cudaPointerGetAttributes(nullptr, device));
}

TEST_F(Memory, PointersBelongToADevice) {
  Options options;
  options.count = 2;
  start(options);
  float* first = to_device(std::vector<float>(8, 5.0f));
  ASSERT_EQ(cudaSuccess, cudaSetDevice(1));
  float* second = device_memory<float>(8);
  cudaPointerAttributes attributes{};
  ASSERT_EQ(cudaSuccess, cudaPointerGetAttributes(&attributes, second));
  EXPECT_EQ(1, attributes.device);
  ASSERT_EQ(cudaSuccess, cudaMemcpyAsync(second, first, 32, cudaMemcpyDeviceToDevice, stream));
  EXPECT_EQ(std::vector<float>(8, 5.0f), to_host(second, 8));
  // A kernel of the first device must not touch the second's memory.
  ASSERT_EQ(cudaSuccess, cudaSetDevice(0));
  launch_fill(second, 0, 8, stream);
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_TRUE(takes_only(ReportKind::memory));
}

TEST_F(Memory, StreamOrderedBlocksAreReused) {
  void *first = nullptr, *second = nullptr, *third = nullptr;
  ASSERT_EQ(cudaSuccess, cudaMallocAsync(&first, 4096, stream));
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(first, 1, 4096, stream));
  ASSERT_EQ(cudaSuccess, cudaFreeAsync(first, stream));
  ASSERT_EQ(cudaSuccess, cudaMallocAsync(&second, 4096, stream));
  EXPECT_EQ(first, second);  // the stream orders the new use behind the release
  ASSERT_EQ(cudaSuccess, cudaFreeAsync(second, stream));
  ASSERT_EQ(cudaSuccess, cudaMallocAsync(&third, 4096, other_stream));
  EXPECT_NE(first, third);  // nothing orders the other stream
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(third, 1, 4096, other_stream));
  ASSERT_EQ(cudaSuccess, cudaFreeAsync(third, other_stream));
  ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
  size_t free_bytes = 0, total = 0;
  ASSERT_EQ(cudaSuccess, cudaMemGetInfo(&free_bytes, &total));
  EXPECT_EQ(total, free_bytes);  // a release threshold of 0 keeps nothing over a synchronisation
}

TEST_F(Memory, StreamOrderedUseAfterFree) {
  void* block = nullptr;
  ASSERT_EQ(cudaSuccess, cudaMallocAsync(&block, 256, stream));
  ASSERT_EQ(cudaSuccess, cudaFreeAsync(block, stream));
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(block, 0, 256, stream));
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_TRUE(takes_only(ReportKind::memory));
  EXPECT_EQ(cudaErrorInvalidValue, cudaFreeAsync(block, stream));
}

TEST_F(Memory, PoolAttributes) {
  cudaMemPool_t pool = nullptr;
  uint64_t threshold = UINT64_MAX, value = 0;
  ASSERT_EQ(cudaSuccess, cudaDeviceGetDefaultMemPool(&pool, 0));
  EXPECT_EQ(cudaErrorInvalidDevice, cudaDeviceGetDefaultMemPool(&pool, 7));
  ASSERT_EQ(cudaSuccess, cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  void* block = nullptr;
  ASSERT_EQ(cudaSuccess, cudaMallocFromPoolAsync(&block, 1000, pool, stream));
  ASSERT_EQ(cudaSuccess, cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &value));
  EXPECT_EQ(1000u, value);
  ASSERT_EQ(cudaSuccess, cudaFreeAsync(block, stream));
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  ASSERT_EQ(cudaSuccess, cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &value));
  EXPECT_EQ(1000u, value);  // kept
  ASSERT_EQ(cudaSuccess, cudaMemPoolTrimTo(pool, 0));
  ASSERT_EQ(cudaSuccess, cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &value));
  EXPECT_EQ(0u, value);
}

TEST_F(Memory, SymbolsAreCopied) {
  float* factor = pinned_memory<float>(1);
  float* back = pinned_memory<float>(1);
  float* x = to_device(std::vector<float>{1, 2, 3});
  launch_scale(x, 3, stream);
  EXPECT_EQ((std::vector<float>{2, 4, 6}), to_host(x, 3));
  *factor = 10;
  ASSERT_EQ(cudaSuccess, cudaMemcpyToSymbolAsync(factor_symbol(), factor, sizeof(float), 0,
                                                 cudaMemcpyHostToDevice, stream));
  ASSERT_EQ(cudaSuccess, cudaMemcpyToSymbolAsync(shift_symbol(), factor, sizeof(float), 0,
                                                 cudaMemcpyHostToDevice, stream));
  launch_scale(x, 3, stream);
  EXPECT_EQ((std::vector<float>{30, 50, 70}), to_host(x, 3));
  ASSERT_EQ(cudaSuccess, cudaMemcpyFromSymbolAsync(back, shift_symbol(), sizeof(float), 0,
                                                   cudaMemcpyDeviceToHost, stream));
  ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
  EXPECT_EQ(10.0f, *back);
  EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpyToSymbolAsync(factor_symbol(), factor, sizeof(float), 1,
                                                           cudaMemcpyHostToDevice, stream));
  EXPECT_EQ(cudaErrorInvalidSymbol,
            cudaMemcpyToSymbolAsync(back, factor, sizeof(float), 0, cudaMemcpyHostToDevice, stream));
}

}  // namespace
}  // namespace simulated_gpu::tests
