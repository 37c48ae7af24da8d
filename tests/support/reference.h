#pragma once
// The functions of autograd/functions.h as plain loops in double precision, and their derivatives by differences: too
// simple to be wrong.  Arrays are flat and row-major; sizes that cannot be had from the counts are arguments.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tests/support/close.h"

namespace tessera::reference {

using Offsets = std::span<const int64_t>;
using Ids = std::span<const int32_t>;

Values embedding(Ids ids, const Values& table, int64_t width);

/// weight [groups, out, in]; rows [offsets[g], offsets[g + 1]) meet group g.
Values matmul(const Values& x, const Values& weight, Offsets offsets, int64_t in, int64_t out);

Values rms_norm(const Values& x, const Values& weight, double epsilon);
Values layer_norm(const Values& x, const Values& weight, const Values& bias, double epsilon);
Values rope(const Values& x, Ids positions, int64_t heads, int64_t head_dim, double base);
Values attention(const Values& q, const Values& k, const Values& v, Offsets segments, int64_t heads,
                 int64_t head_dim);
/// One query per row, against the first visible[r] keys of a sequence of `capacity` rows.
Values cached_attention(const Values& q, const Values& keys, const Values& values, Ids sequence, Ids visible,
                        int64_t capacity, int64_t heads, int64_t head_dim);
Values swiglu(const Values& gate, const Values& up);
Values add(const Values& a, const Values& b);
Values subtract(const Values& a, const Values& b);
Values sigmoid(const Values& x);
Values silu(const Values& x);
Values gather(const Values& x, Ids index, int64_t width);
/// target with row index[s] replaced by row s.
Values store_rows(const Values& rows, Ids index, Values target, int64_t width);
/// Slot s reads the column c with columns[c] <= s < columns[c + 1].
Values pick(const Values& x, Ids index, Offsets columns);
/// gates may be empty: all 1.
Values combine(const Values& slots, const Values& gates, Ids index, int64_t rows, int64_t width);

struct CrossEntropy {
  Values nll, log_sum;  ///< by row; 0 where the target is -1
  double total = 0;
};
CrossEntropy cross_entropy(const Values& logits, Ids targets, int64_t vocab, double scale, double z_loss);

/// targets: 0 or 1.
double binary_cross_entropy(const Values& logits, Ids targets, double scale);

/// The derivative of value() by x: central differences of fourth order, with a step (2^-11) at which truncation and the
/// rounding of doubles are both of the order of 1e-12 for functions that vary on a scale of 1.  x is restored.
double derivative(double& x, const std::function<double()>& value);
/// The same of many values at once.
Values derivatives(double& x, const std::function<Values()>& values);

}  // namespace tessera::reference
