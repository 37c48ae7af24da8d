#pragma once
// Comparisons whose tolerance follows from the arithmetic (docs/numerics.md).  An element is the result of a number of
// rounded operations; each moves it by at most half an epsilon of the largest magnitude around, and n of them add up
// like a random walk, with a standard deviation of sqrt(n / 12) epsilon.  sqrt(n) epsilon allows 3.5 of these, and is no
// less than the strict bound n / 2 epsilon up to n = 4.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "runtime/dtype.h"

namespace tessera {

using Values = std::vector<double>;

/// What rounds on the way to an element.
struct Roundings {
  int64_t terms = 0;  ///< rounded f32 operations, the additions of the longest sum included; 0: copied
  /// How much the function amplifies rounding; not 1 only with a derivation in docs/numerics.md.
  double condition = 1;
  int64_t bf16_stores = 1;  ///< roundings to bf16 on the way, where the dtype is bf16; unused without terms
};

struct Comparison {
  std::string what;
  Values actual, expected;
  DType dtype = DType::f32;  ///< in which values are stored on the way
  Roundings roundings{};
};

/// Largest allowed error as a share of the largest expected magnitude.  What is copied is exact, and expected values that
/// are differences of the reference are known to 2^-33.
inline double relative_tolerance(const Comparison& c) {
  if (c.roundings.terms == 0) return 0x1p-33;
  const auto terms = static_cast<double>(c.roundings.terms);
  const auto stores = static_cast<double>(c.roundings.bf16_stores);
  double share = std::sqrt(terms) * 0x1p-23;
  if (c.dtype == DType::bf16) share += std::min(stores / 2, std::sqrt(stores)) * 0x1p-7;
  return c.roundings.condition * share;
}

inline double largest_magnitude(const Values& values) {
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

/// Fails when an element is further off than allowed, and when the tolerance is as large as typical (root mean square)
/// values, so that it could not fail.
inline testing::AssertionResult close(const Comparison& c) {
  if (c.actual.size() != c.expected.size())
    return testing::AssertionFailure()
           << c.what << ": " << c.actual.size() << " values, expected " << c.expected.size();
  const double scale = largest_magnitude(c.expected), allowed = relative_tolerance(c) * scale;
  double squares = 0;
  for (double value : c.expected) squares += value * value;
  if (scale > 0 && !(allowed < std::sqrt(squares / static_cast<double>(c.expected.size()))))
    return testing::AssertionFailure()
           << c.what << ": the tolerance " << allowed << " is as large as the values";
  for (size_t i = 0; i < c.expected.size(); ++i)
    if (!(std::abs(c.actual[i] - c.expected[i]) <= allowed))
      return testing::AssertionFailure()
             << c.what << "[" << i << "] is " << c.actual[i] << ", expected " << c.expected[i] << " within "
             << allowed << " (" << c.dtype << ", " << c.roundings.terms << " terms)";
  return testing::AssertionSuccess();
}

}  // namespace tessera
