// Kernels with one seeded fault each, compiled by nvcc: every fault is reported at every seed, as the right
// kind and with a source line; the same kernels without it run clean and give the right numbers.

#include "tests/simulated_gpu/tests/cuda/seeded_faults.h"

#include <functional>
#include <numeric>

#include "tests/simulated_gpu/tests/cuda/cuda_test.h"

namespace simulated_gpu::tests {
namespace {

class SeededFaults : public CudaTest {
 protected:
  /// Runs without and with the fault, under several seeds and both ways to step lanes.  `run` gives back
  /// whether the numbers are right.  A fault may show in further ways: a read that comes too early may meet a
  /// byte that is not written yet.
  void expect(ReportKind kind, Fault fault, const std::function<bool(Fault)>& run) {
    for (const char* lanes : {"together", "independent"})
      for (uint64_t seed = 1; seed <= 4; ++seed) {
        Options options;
        options.seed = seed;
        options.lanes = lanes;
        start(options);
        EXPECT_TRUE(run(Fault::none)) << "seed " << seed << ", lanes " << lanes;
        for (const Report& report : take_reports()) ADD_FAILURE() << "false report: " << describe(report);
        run(fault);
        bool is_found = false;
        for (const Report& report : take_reports()) {
          is_found |= report.kind == kind && report.source.find("seeded_faults.cu:") != std::string::npos;
        }
        EXPECT_TRUE(is_found) << "seed " << seed << ", lanes " << lanes;
      }
  }

  static std::vector<float> numbers(size_t count) {
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), 1.0f);
    return values;
  }
};

constexpr int kCount = 512;

TEST_F(SeededFaults, OnePastTheEndAndMisaligned) {
  const auto run = [&](Fault fault) {
    const float* x = to_device(numbers(kCount));
    float* y = device_memory<float>(kCount);
    launch_double(fault, x, y, kCount, stream);
    cudaStreamSynchronize(stream);
    return fault != Fault::none || to_host(y, kCount)[kCount - 1] == 2 * kCount;
  };
  expect(ReportKind::memory, Fault::one_past_the_end, run);
  expect(ReportKind::memory, Fault::misaligned_vector, run);
}

TEST_F(SeededFaults, BlockSum) {
  const auto run = [&](Fault fault) {
    const float* x = to_device(numbers(kCount));
    float* sum = to_device(std::vector<float>{0});
    launch_sum(fault, x, sum, kCount, stream);
    cudaStreamSynchronize(stream);
    return fault != Fault::none || to_host(sum, 1)[0] == kCount * (kCount + 1) / 2;
  };
  expect(ReportKind::uninitialised, Fault::uninitialised_shared, run);
  expect(ReportKind::race, Fault::plain_addition, run);
  expect(ReportKind::race, Fault::missing_barrier, run);
  expect(ReportKind::synchronisation, Fault::barrier_in_branch, run);
}

TEST_F(SeededFaults, MissingWarpSynchronisation) {
  expect(ReportKind::race, Fault::missing_warp_synchronisation, [&](Fault fault) {
    const float* x = to_device(numbers(kCount));
    float* y = device_memory<float>(kCount);
    launch_reverse(fault, x, y, kCount / 32, stream);
    cudaStreamSynchronize(stream);
    return fault != Fault::none || to_host(y, kCount)[0] == 32;
  });
}

TEST_F(SeededFaults, MissingBarrierInLoop) {
  expect(ReportKind::race, Fault::missing_barrier_in_loop, [&](Fault fault) {
    const float* x = to_device(numbers(4 * 64));
    float* y = device_memory<float>(64);
    launch_tile_sums(fault, x, y, 4, stream);
    cudaStreamSynchronize(stream);
    return fault != Fault::none || to_host(y, 64)[63] == 4 * 1 + (1 + 2 + 3) * 64;
  });
}

TEST_F(SeededFaults, AsynchronousCopies) {
  const auto run = [&](Fault fault) {
    const auto* x = reinterpret_cast<const float4*>(to_device(numbers(4 * 4 * 64)));
    float* y = device_memory<float>(4 * 64);
    launch_pipelined_tile_sums(fault, x, reinterpret_cast<float4*>(y), 4, stream);
    cudaStreamSynchronize(stream);
    return fault != Fault::none || to_host(y, 4 * 64)[4 * 63] == 4 * 1 + (1 + 2 + 3) * 256;
  };
  expect(ReportKind::uninitialised, Fault::weak_copy_wait, run);
  expect(ReportKind::race, Fault::missing_barrier_after_copy, run);
}

TEST_F(SeededFaults, MissingFence) {
  expect(ReportKind::race, Fault::missing_fence, [&](Fault fault) {
    constexpr int kBlocks = 6;
    const float* x = to_device(numbers(32 * kBlocks));
    float* parts = device_memory<float>(kBlocks);
    float* sum = device_memory<float>(1);
    unsigned* ticket = to_device(std::vector<unsigned>{0});
    launch_ordered_sum(fault, x, parts, ticket, sum, kBlocks, stream);
    cudaStreamSynchronize(stream);
    return fault != Fault::none || (to_host(sum, 1)[0] == 96 * 193 && to_host(ticket, 1)[0] == 0);
  });
}

}  // namespace
}  // namespace simulated_gpu::tests
