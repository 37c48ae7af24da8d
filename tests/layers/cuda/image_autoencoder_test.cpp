// The image autoencoder on the simulated GPU beside the processor.
#include <gtest/gtest.h>

#include "runtime/cpu_engine.h"
#include "runtime/cuda_engine.h"
#include "tests/simulated_gpu/control.h"
#include "tests/support/close.h"
#include "tests/support/tiny_autoencoder.h"

namespace tessera {
namespace {

TEST(CudaImageAutoencoder, GivesTheCodesOfTheProcessor) {
  constexpr int64_t kImages = 5;
  const ImageAutoencoderConfig config = tiny_autoencoder();
  const auto codes_on = [&](Stream stream) {
    LoneAutoencoder lone(config, stream);
    const PatchRows rows(kImages, config.patches(), stream);
    return lone.model.encode(tiny_patches(config, kImages, stream), rows).to_vector<int32_t>();
  };
  CpuEngine cpu;
  CudaEngine gpu(0);
  const std::vector<int32_t> expected = codes_on(cpu.stream());
  EXPECT_GT(*std::ranges::max_element(expected), *std::ranges::min_element(expected));
  EXPECT_EQ(codes_on(gpu.stream()), expected);
  for (const simulated_gpu::Report& report : simulated_gpu::take_reports())
    ADD_FAILURE() << simulated_gpu::describe(report);
}

}  // namespace
}  // namespace tessera
