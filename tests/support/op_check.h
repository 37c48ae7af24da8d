#pragma once
// What every entry of the op table must hold on any device: value and gradient against double precision, repeats over other
// memory contents, untouched inputs, and proof that the comparisons would notice an error.  Writes outside the outputs are
// looked for by the tests of the kernels.

#include <gtest/gtest.h>

#include "tests/support/op_case.h"

namespace tessera {

/// The entries of one family, so that a test takes them by itself: "attention" holds "attention/3x64" and others like it.
std::vector<OpCase> op_cases_of(const std::string& family);
std::vector<std::string> op_families();
std::string name_of_family(const testing::TestParamInfo<std::string>& family);

/// What a function and its backward gave on one device.
struct Outcome {
  Tensor output;
  std::vector<Tensor> gradients;  ///< none for a constant output
};

/// Runs the function and its backward, checking that neither writes to the inputs.
Outcome run_op(const OpCase& op_case, DType dtype, Stream stream);

/// What the outcome of one dtype is compared with: the reference at the inputs as rounded.
class Truth {
 public:
  /// gradient_sample: elements of each gradient that are compared, the ends and a seeded choice between.
  Truth(const OpCase& op_case, DType dtype, int64_t gradient_sample);

  std::vector<Comparison> compare(const Outcome& outcome) const;

 private:
  const OpCase& op_case_;
  DType dtype_;
  Values output_;
  std::vector<std::vector<size_t>> positions_;
  std::vector<Values> gradients_;
};

/// The same bits again, over memory that holds other values.
void expect_same_again(const OpCase& op_case, DType dtype, Stream stream, const Outcome& first);

/// Compares with the truth, and repeats, as test failures.
void check_op(const OpCase& op_case, DType dtype, Stream stream, int64_t gradient_sample);

/// Every value off by ten times the tolerance, and single values (a sample of them, where they are many) off by ten times
/// that of the largest: each must be noticed.  Where nothing is rounded, one epsilon is.
void expect_errors_noticed(const Comparison& right);

}  // namespace tessera
