#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/simulated_gpu/tests/cuda/cuda_test.h"
#include "tests/simulated_gpu/tests/cuda/kernels.h"

namespace simulated_gpu::tests {
namespace {

using DeviceApi = CudaTest;

constexpr auto kNoAttribute = cudaDeviceAttr(200);

TEST_F(DeviceApi, PropertiesOfEveryModel) {
  struct Model {
    const char* option;
    int major, multiprocessors;
    size_t shared;
  };
  for (const Model& model :
       {Model{"a100", 8, 108, 163}, Model{"h100", 9, 132, 227}, Model{"b200", 10, 148, 227}}) {
    Options options;
    options.device = model.option;
    options.memory = 1 << 24;
    start(options);
    cudaDeviceProp properties{};
    ASSERT_EQ(cudaSuccess, cudaGetDeviceProperties(&properties, 0));
    EXPECT_NE(nullptr, std::strstr(properties.name, "NVIDIA"));
    EXPECT_EQ(model.major, properties.major);
    EXPECT_EQ(model.multiprocessors, properties.multiProcessorCount);
    EXPECT_EQ(model.shared * 1024, properties.sharedMemPerBlockOptin);
    EXPECT_EQ(size_t{48} * 1024, properties.sharedMemPerBlock);
    EXPECT_EQ(size_t{1} << 24, properties.totalGlobalMem);
    EXPECT_EQ(1024, properties.maxThreadsPerBlock);
    EXPECT_EQ(64, properties.maxThreadsDim[2]);
    EXPECT_EQ(65535, properties.maxGridSize[1]);
    int value = 0;
    ASSERT_EQ(cudaSuccess, cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    EXPECT_EQ(properties.sharedMemPerBlockOptin, size_t(value));
    ASSERT_EQ(cudaSuccess, cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
    EXPECT_EQ(properties.multiProcessorCount, value);
    ASSERT_EQ(cudaSuccess, cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMajor, 0));
    EXPECT_EQ(model.major, value);
  }
}

TEST_F(DeviceApi, SeveralDevices) {
  Options options;
  options.count = 3;
  start(options);
  int value = -1;
  ASSERT_EQ(cudaSuccess, cudaGetDeviceCount(&value));
  EXPECT_EQ(3, value);
  EXPECT_EQ(cudaErrorInvalidDevice, cudaSetDevice(3));
  EXPECT_EQ(cudaErrorInvalidDevice, cudaSetDevice(-1));
  ASSERT_EQ(cudaSuccess, cudaSetDevice(2));
  ASSERT_EQ(cudaSuccess, cudaGetDevice(&value));
  EXPECT_EQ(2, value);
  EXPECT_EQ(cudaSuccess, cudaDeviceCanAccessPeer(&value, 0, 1));
  EXPECT_EQ(0, value);
  EXPECT_EQ(cudaErrorInvalidDevice, cudaDeviceCanAccessPeer(&value, 0, 5));
  EXPECT_EQ(cudaErrorPeerAccessUnsupported, cudaDeviceEnablePeerAccess(1, 0));
  EXPECT_EQ(cudaErrorPeerAccessUnsupported, cudaGetLastError());
}

TEST_F(DeviceApi, NoDevice) {
  Options options;
  options.count = 0;
  cudaDeviceReset();
  set_options(options);
  int value = 17;
  EXPECT_EQ(cudaErrorNoDevice, cudaGetDeviceCount(&value));
  EXPECT_EQ(17, value);
  EXPECT_EQ(cudaErrorNoDevice, cudaSetDevice(0));
  void* pointer = nullptr;
  EXPECT_EQ(cudaErrorNoDevice, cudaMalloc(&pointer, 4));
  EXPECT_EQ(cudaErrorNoDevice, cudaGetLastError());
  set_options({});
}

TEST_F(DeviceApi, VersionsAndTexts) {
  int driver = 0, runtime = 0;
  EXPECT_EQ(cudaSuccess, cudaDriverGetVersion(&driver));
  EXPECT_EQ(cudaSuccess, cudaRuntimeGetVersion(&runtime));
  EXPECT_EQ(CUDART_VERSION, driver);
  EXPECT_EQ(CUDART_VERSION, runtime);
  EXPECT_STREQ("cudaErrorMemoryAllocation", cudaGetErrorName(cudaErrorMemoryAllocation));
  EXPECT_STREQ("out of memory", cudaGetErrorString(cudaErrorMemoryAllocation));
  EXPECT_STREQ("unrecognized error code", cudaGetErrorString(cudaError_t(998)));
  EXPECT_EQ(cudaErrorInvalidValue, cudaDriverGetVersion(nullptr));
  EXPECT_EQ(cudaErrorInvalidValue, cudaGetDeviceCount(nullptr));
  EXPECT_EQ(cudaErrorInvalidValue, cudaGetDevice(nullptr));
  EXPECT_EQ(cudaErrorInvalidValue, cudaGetDeviceProperties(nullptr, 0));
  cudaGetLastError();
}

TEST_F(DeviceApi, UnknownAttributeStopsTheProcess) {
  int value = 0;
  EXPECT_EXIT(cudaDeviceGetAttribute(&value, kNoAttribute, 0), ::testing::ExitedWithCode(86),
              "attribute 200 is not simulated");
}

TEST_F(DeviceApi, ResetEndsEverything) {
  char* memory = device_memory<char>(64);
  ASSERT_EQ(cudaSuccess, cudaDeviceReset());
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaStreamSynchronize(stream));
  EXPECT_EQ(cudaErrorInvalidValue, cudaFree(memory));
  cudaGetLastError();
}

TEST_F(DeviceApi, ProfileOutlivesAReset) {
  const auto launches = [] {
    for (const KernelProfile& kernel : profile().kernels()) {
      if (kernel.kernel.find("fill(float*, float, int)") != std::string::npos) return kernel.launches;
    }
    return uint64_t{0};
  };
  const uint64_t before = launches();
  for (int i = 0; i < 20; ++i) {
    launch_fill(device_memory<float>(32), 1, 32, stream);
    ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
    start({});
  }
  EXPECT_EQ(before + 20, launches());
}

TEST_F(DeviceApi, LeftReportsEndInExitCode86) {
  const auto leave_a_report = [] {
    void* pointer = nullptr;
    cudaMalloc(&pointer, 16);
    cudaMemset(pointer, 0, 16);
    std::exit(0);
  };
  EXPECT_EXIT(leave_a_report(), ::testing::ExitedWithCode(86), "cudaMemset uses the default stream");
  EXPECT_EXIT(std::exit(0), ::testing::ExitedWithCode(0), "");
}

TEST_F(DeviceApi, ProfileIsWrittenAtExit) {
  const std::string path = ::testing::TempDir() + "simulated_gpu_profile.json";
  std::remove(path.c_str());
  const auto run = [&] {
    Options options;
    options.profile = path;
    start(options);
    launch_fill(device_memory<float>(32), 1, 32, stream);
    cudaStreamSynchronize(stream);
    std::exit(0);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_NE(std::string::npos, text.str().find("fill(float*, float, int)")) << text.str();
}

TEST_F(DeviceApi, HostCodeThatTouchesDeviceMemoryIsTold) {
  volatile int* memory = device_memory<int>(4);
  EXPECT_EXIT(memory[0] = 1, ::testing::KilledBySignal(SIGSEGV), "host code touches device memory");
}

TEST_F(DeviceApi, UnknownInstructionStopsTheProcess) {
  EXPECT_EXIT(launch_unknown_instruction(stream), ::testing::ExitedWithCode(86), "pmevent");
}

TEST_F(DeviceApi, FailuresOnPurpose) {
  Options options;
  options.fail = "malloc:2,copy:1,launch:2";
  start(options);
  void* pointer = nullptr;
  EXPECT_EQ(cudaSuccess, cudaMalloc(&pointer, 4));
  EXPECT_EQ(cudaErrorMemoryAllocation, cudaMalloc(&pointer, 4));
  EXPECT_EQ(cudaSuccess, cudaMalloc(&pointer, 4));
  EXPECT_EQ(cudaErrorUnknown, cudaMemsetAsync(pointer, 0, 4, stream));
  EXPECT_EQ(cudaSuccess, cudaMemsetAsync(pointer, 0, 4, stream));
  cudaGetLastError();
  launch_fill(static_cast<float*>(pointer), 1, 1, stream);
  EXPECT_EQ(cudaSuccess, cudaGetLastError());
  launch_fill(static_cast<float*>(pointer), 1, 1, stream);
  EXPECT_EQ(cudaErrorLaunchOutOfResources, cudaGetLastError());
  EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
}

TEST_F(DeviceApi, OptionsAreChecked) {
  const auto refuses = [](auto change) {
    Options options;
    change(options);
    try {
      set_options(options);
    } catch (const std::runtime_error&) {
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refuses([](Options& options) { options.schedule = "sometimes"; }));
  EXPECT_TRUE(refuses([](Options& options) { options.schedule = "starve:x"; }));
  EXPECT_TRUE(refuses([](Options& options) { options.lanes = "alone"; }));
  EXPECT_TRUE(refuses([](Options& options) { options.device = "v100"; }));
  EXPECT_TRUE(refuses([](Options& options) { options.fail = "malloc"; }));
  EXPECT_TRUE(refuses([](Options& options) { options.fail = "malloc:0"; }));
  char* memory = device_memory<char>(64);
  EXPECT_TRUE(refuses([](Options& options) { options.count = 2; }));
  EXPECT_EQ(cudaSuccess, cudaFree(memory));
  EXPECT_FALSE(refuses([](Options& options) { options.seed = 2; }));
}

TEST_F(DeviceApi, OptionsComeFromTheEnvironment) {
  setenv("SIMULATED_GPU_SEED", "12", 1);
  setenv("SIMULATED_GPU_DEVICE", "a100", 1);
  setenv("SIMULATED_GPU_CHECK", "0", 1);
  const Options options = options_from_environment();
  EXPECT_EQ(12u, options.seed);
  EXPECT_EQ("a100", options.device);
  EXPECT_FALSE(options.check);
  setenv("SIMULATED_GPU_CHECK", "yes", 1);
  EXPECT_THROW(options_from_environment(), std::runtime_error);
  for (const char* name : {"SIMULATED_GPU_SEED", "SIMULATED_GPU_DEVICE", "SIMULATED_GPU_CHECK"})
    unsetenv(name);
}

}  // namespace
}  // namespace simulated_gpu::tests
