// Every entry of the op table on the simulated GPU, every checker on, under several schedules: value and gradient against
// double precision, the same bits under every schedule, and no report.
#include "runtime/cuda_engine.h"
#include "tests/simulated_gpu/control.h"
#include "tests/support/op_check.h"

namespace tessera {
namespace {

class CudaOp : public testing::TestWithParam<std::string> {
 protected:
  void check(uint64_t seed, const char* lanes, int64_t gradient_sample) const {
    simulated_gpu::Options options = simulated_gpu::options();
    options.check = true;
    options.seed = seed;
    options.lanes = lanes;
    simulated_gpu::set_options(options);
    for (const OpCase& op_case : op_cases_of(GetParam())) {
      for (DType dtype : op_case.dtypes()) {
        SCOPED_TRACE(str("seed ", seed, ", lanes ", lanes));
        CudaEngine engine(0);
        check_op(op_case, dtype, engine.stream(), gradient_sample);
        for (const simulated_gpu::Report& report : simulated_gpu::take_reports())
          ADD_FAILURE() << simulated_gpu::describe(report);
      }
    }
  }
};

TEST_P(CudaOp, MatchesDoublePrecision) { check(1, "together", 64); }

class CudaOpFull : public CudaOp {};

TEST_P(CudaOpFull, MatchesUnderEverySchedule) {
  check(2, "together", 256);
  check(3, "together", 256);
  check(4, "independent", 256);
}

INSTANTIATE_TEST_SUITE_P(Table, CudaOp, testing::ValuesIn(op_families()), name_of_family);
INSTANTIATE_TEST_SUITE_P(Table, CudaOpFull, testing::ValuesIn(op_families()), name_of_family);

}  // namespace
}  // namespace tessera
