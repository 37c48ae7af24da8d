// Every entry of the op table, at every instruction-set level and dtype (tests/support/op_check.h).
#include <memory>

#include "runtime/cpu_engine.h"
#include "tests/support/op_check.h"

namespace tessera {
namespace {

void check(const std::string& family, int64_t gradient_sample) {
  std::vector<std::unique_ptr<CpuEngine>> engines;
  engines.push_back(std::make_unique<CpuEngine>(1, Isa::avx2));
  engines.push_back(std::make_unique<CpuEngine>(2, detect_isa()));
  for (const OpCase& op_case : op_cases_of(family))
    for (DType dtype : op_case.dtypes()) {
      const Truth truth(op_case, dtype, gradient_sample);
      for (const auto& engine : engines) {
        SCOPED_TRACE(str(op_case.name, " ", dtype, " ", name_of(engine->isa)));
        const Outcome outcome = run_op(op_case, dtype, engine->stream());
        for (const Comparison& comparison : truth.compare(outcome)) {
          EXPECT_TRUE(close(comparison));
          expect_errors_noticed(comparison);
        }
        expect_same_again(op_case, dtype, engine->stream(), outcome);
      }
    }
}

class Op : public testing::TestWithParam<std::string> {};
class OpFull : public Op {};

TEST_P(Op, MatchesDoublePrecision) { check(GetParam(), 64); }

TEST_P(OpFull, MatchesDoublePrecisionEverywhere) { check(GetParam(), std::numeric_limits<int64_t>::max()); }

INSTANTIATE_TEST_SUITE_P(Table, Op, testing::ValuesIn(op_families()), name_of_family);
INSTANTIATE_TEST_SUITE_P(Table, OpFull, testing::ValuesIn(op_families()), name_of_family);

}  // namespace
}  // namespace tessera
