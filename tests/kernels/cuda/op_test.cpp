// Every entry of the op table on the simulated GPU, every checker on, under several schedules: value and gradient against
// double precision, the same bits under every schedule, and no report.
#include "runtime/cuda_engine.h"
#include "tests/simulated_gpu/control.h"
#include "tests/support/op_check.h"

namespace tessera {
namespace {

void check_all(uint64_t seed, const char* lanes, int64_t gradient_sample) {
  simulated_gpu::Options options = simulated_gpu::options();
  options.check = true;
  options.seed = seed;
  options.lanes = lanes;
  simulated_gpu::set_options(options);
  for (const OpCase& op_case : op_cases())
    for (DType dtype : op_case.dtypes()) {
      SCOPED_TRACE(str(op_case.name, " ", dtype, " on the simulated GPU, seed ", seed, ", lanes ", lanes));
      CudaEngine engine(0);
      const Outcome outcome = run_op(op_case, dtype, engine.stream());
      for (const Comparison& comparison : Truth(op_case, dtype, gradient_sample).compare(outcome))
        EXPECT_TRUE(close(comparison));
      expect_same_again(op_case, dtype, engine.stream(), outcome);
      for (const simulated_gpu::Report& report : simulated_gpu::take_reports())
        ADD_FAILURE() << simulated_gpu::describe(report);
    }
}

TEST(CudaOp, MatchesDoublePrecision) { check_all(1, "together", 64); }

TEST(CudaOpFull, MatchesUnderEverySchedule) {
  check_all(2, "together", 256);
  check_all(3, "together", 256);
  check_all(4, "independent", 256);
}

}  // namespace
}  // namespace tessera
