#include "kernels/rope_frequencies.h"

#include <cmath>

namespace tessera::kernels {
namespace {

/// Natural logarithm of x > 0 by + - * / alone, so that no C library decides its bits: x = 2^n m, s = (m - 1) / (m + 1),
/// log m = 2 (s + s^3 / 3 + ... + s^21 / 21).
double logarithm(double x) {
  int n = 0;
  double m = std::frexp(x, &n);
  if (m < 0.70710678118654752) m *= 2, n -= 1;
  const double s = (m - 1) / (m + 1);
  double series = 0;
  for (int k = 21; k >= 1; k -= 2) series = series * (s * s) + 2.0 / k;
  return n * 0.69314718055994531 + s * series;
}

/// e^x likewise: x = n ln 2 + r, Taylor series of e^r up to r^14.
double exponential(double x) {
  const double n = std::nearbyint(x / 0.69314718055994531);
  const double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double series = 1;
  for (int k = 14; k >= 1; --k) series = 1 + series * r / k;
  return std::ldexp(series, static_cast<int>(n));
}

}  // namespace

void rope_frequencies(std::span<double> frequencies, double base) {
  const auto head_dim = static_cast<double>(2 * frequencies.size());
  for (size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = exponential(-2 * static_cast<double>(i) / head_dim * logarithm(base));
}

}  // namespace tessera::kernels
