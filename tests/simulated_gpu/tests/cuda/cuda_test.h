#pragma once
// What every test of the simulated runtime starts from: a fresh device under default options, no reports, two
// streams.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/simulated_gpu/control.h"

namespace simulated_gpu::tests {

class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override { start({}); }

  /// The test fails when it leaves a report that it did not take.
  void TearDown() override {
    reset_devices();
    cudaGetLastError();
    for (const Report& report : take_reports()) ADD_FAILURE() << "report left: " << describe(report);
  }

  /// Begins anew under these options.
  void start(const Options& options) {
    reset_devices();
    set_options(options);
    take_reports();
    cudaGetLastError();
    ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&other_stream, cudaStreamNonBlocking));
  }

  template <class T>
  T* device_memory(size_t count) {
    void* pointer = nullptr;
    EXPECT_EQ(cudaSuccess, cudaMalloc(&pointer, count * sizeof(T)));
    return static_cast<T*>(pointer);
  }

  template <class T>
  T* pinned_memory(size_t count) {
    void* pointer = nullptr;
    EXPECT_EQ(cudaSuccess, cudaMallocHost(&pointer, count * sizeof(T)));
    pinned_.push_back(pointer);
    return static_cast<T*>(pointer);
  }

  /// Copies through pinned memory on `stream` and waits.
  template <class T>
  T* to_device(const std::vector<T>& values) {
    T* staging = pinned_memory<T>(values.size());
    std::copy(values.begin(), values.end(), staging);
    T* device = device_memory<T>(values.size());
    EXPECT_EQ(cudaSuccess,
              cudaMemcpyAsync(device, staging, values.size() * sizeof(T), cudaMemcpyHostToDevice, stream));
    EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
    return device;
  }

  template <class T>
  std::vector<T> to_host(const T* device, size_t count) {
    T* staging = pinned_memory<T>(count);
    EXPECT_EQ(cudaSuccess,
              cudaMemcpyAsync(staging, device, count * sizeof(T), cudaMemcpyDeviceToHost, stream));
    EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
    return std::vector<T>(staging, staging + count);
  }

  /// Takes all reports; true when there is at least one and all are of the kind.
  static bool takes_only(ReportKind kind) {
    const std::vector<Report> reports = take_reports();
    for (const Report& report : reports) {
      if (report.kind != kind) ADD_FAILURE() << "unexpected report: " << describe(report);
    }
    return !reports.empty();
  }

  cudaStream_t stream = nullptr, other_stream = nullptr;

 private:
  void reset_devices() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) return;
    for (int device = count - 1; device >= 0; --device) {
      cudaSetDevice(device);
      cudaDeviceReset();
    }
    for (void* pointer : pinned_) cudaFreeHost(pointer);
    pinned_.clear();
  }

  std::vector<void*> pinned_;
};

}  // namespace simulated_gpu::tests
