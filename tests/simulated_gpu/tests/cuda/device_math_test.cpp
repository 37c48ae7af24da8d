// CUDA's math library against the C library in a wider type.  Its functions take slow paths for large
// arguments, call functions with local memory, look numbers up in constant tables and use every rounding, so
// they exercise the executor as no kernel of ours does.

#include "tests/simulated_gpu/tests/cuda/device_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace simulated_gpu {
namespace {

using Wide = long double;

/// x mod 2, exactly, so that multiplying by pi loses nothing that matters.
Wide turn(Wide x) { return std::remainder(x, 2.0L); }
constexpr Wide kPi = 3.14159265358979323846264338327950288L;

Wide sin_of_turn(Wide x) {
  const Wide r = turn(x);
  return r == std::trunc(r) ? 0 : std::sin(kPi * r);
}
Wide cos_of_turn(Wide x) {
  const Wide r = std::fabs(turn(x));
  return r == 0.5L ? 0 : std::cos(kPi * r);
}

Wide reference(int function, Wide x, Wide exponent) {
  switch (function) {
    case 0:
      return std::exp(x);
    case 1:
      return std::exp2(x);
    case 2:
      return std::expm1(x);
    case 3:
      return std::log(x);
    case 4:
      return std::log2(x);
    case 5:
      return std::log1p(x);
    case 6:
      return std::pow(x, exponent);
    case 7:
      return std::erf(x);
    case 8:
      return 1 / std::sqrt(x);
    case 9:
      return std::sqrt(x);
    case 10:
      return std::cbrt(x);
    case 11:
      return std::tanh(x);
    case 12:
      return std::sin(x);
    case 13:
      return std::cos(x);
    case 14:
      return std::tan(x);
    case 15:
      return std::atan(x);
    case 16:
      return sin_of_turn(x);
    default:
      return cos_of_turn(x);
  }
}

/// Largest differences from the correctly rounded result, in units of its last place: CUDA C++ Programming
/// Guide 13.0, section "Mathematical Functions", standard functions.
constexpr double kSingleErrors[kMathFunctions] = {2, 2, 1, 1, 1, 1, 4, 2, 2, 0, 1, 2, 2, 2, 4, 2, 1, 1};
constexpr double kDoubleErrors[kMathFunctions] = {1, 1, 1, 1, 1, 1, 2, 2, 1, 0, 1, 1, 2, 2, 2, 2, 2, 2};

template <class T>
void expect_errors_as_documented(const double (&allowed)[kMathFunctions]) {
  std::vector<T> x{0,
                   static_cast<T>(-0.0),
                   1,
                   -1,
                   static_cast<T>(0.5),
                   2,
                   100,
                   -100,
                   static_cast<T>(105615),
                   static_cast<T>(1e9),
                   static_cast<T>(-3e20),
                   std::numeric_limits<T>::infinity(),
                   -std::numeric_limits<T>::infinity(),
                   std::numeric_limits<T>::quiet_NaN()};
  for (int i = 0; i < 500; ++i)
    x.push_back(std::ldexp(static_cast<T>(1) + static_cast<T>(i * 7919 % 1000) / 1000, i % 24 - 12) *
                (i % 3 == 0 ? -1 : 1));
  const std::vector<T> y = device_math(x);
  for (int f = 0; f < kMathFunctions; ++f) {
    for (size_t i = 0; i < x.size(); ++i) {
      const Wide exact = reference(f, x[i], x[i] / 8);
      const T rounded = static_cast<T>(exact), got = y[static_cast<size_t>(f) * x.size() + i];
      if (std::isnan(rounded) || std::isinf(rounded) || rounded == 0) {
        EXPECT_TRUE(got == rounded || (std::isnan(got) && std::isnan(rounded)))
            << kMathNames[f] << "(" << x[i] << ") = " << got << ", not " << rounded;
        continue;
      }
      const T unit =
          std::nextafter(std::fabs(rounded), std::numeric_limits<T>::infinity()) - std::fabs(rounded);
      EXPECT_LE(std::fabs(got - rounded) / unit, allowed[f])
          << kMathNames[f] << "(" << x[i] << ") = " << got << ", not " << rounded;
    }
  }
}

TEST(DeviceMath, Single) { expect_errors_as_documented<float>(kSingleErrors); }
TEST(DeviceMath, Double) { expect_errors_as_documented<double>(kDoubleErrors); }

}  // namespace
}  // namespace simulated_gpu
