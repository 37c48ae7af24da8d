// On a real GPU: the op table and a short training, linked with NVIDIA's libraries.  `make gpu-check`; skipped without a GPU.
#include <gtest/gtest.h>

#include "data/synthetic.h"
#include "launch/train.h"
#include "runtime/cuda_engine.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/op_check.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

namespace tessera {
namespace {

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    const CudaDevices devices = cuda_devices();
    if (devices.count == 0) GTEST_SKIP() << devices.problem;
  }
};

TEST_F(GpuTest, OpsMatchDoublePrecision) {
  CudaEngine engine(0);
  for (const OpCase& op_case : op_cases())
    for (DType dtype : op_case.dtypes()) check_op(op_case, dtype, engine.stream(), 256);
}

TEST_F(GpuTest, TrainsLikeTheProcessor) {
  const TemporaryFolder folder;
  write_synthetic_dataset(folder / "data", 7);
  Config config = tiny_run(folder / "data", "2t2i");
  config.steps = 60;
  config.loader.text_units = 0;
  config.schedule.warmup = 4;
  std::vector<double> last;
  for (const char* device : {"cpu", "cuda"}) {
    config.device = device;
    config.out = folder / device;
    run_ranks(1, [&](Communicator& world) { EXPECT_EQ(train(config, world), 0); });
    const std::vector<double> all = losses(config.out);
    EXPECT_LT(all.back(), all.front() - 0.5) << device;
    last.push_back(all.back());
  }
  // Rounding differs, and training amplifies it; what both learnt does not.
  EXPECT_NEAR(last[1], last[0], 0.05 * last[0]);
}

}  // namespace
}  // namespace tessera
