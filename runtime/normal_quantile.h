#pragma once
// The inverse of the standard normal distribution function, for 0 < p < 1 and p not subnormal.  Uses + - * /
// and sqrt alone, all rounded as IEEE 754 asks, so that processors and devices give the same bits.
// Source: Wichura, Algorithm AS 241 (PPND16), 1988 (relative accuracy 1e-16).

#include <bit>
#include <cmath>
#include <cstdint>

namespace tessera {

/// Natural logarithm of a normal x > 0: x = m 2^e, log m = 2 atanh((m - 1) / (m + 1)).
constexpr double logarithm_of_basic_operations(double x) {
  constexpr uint64_t kMantissa = (uint64_t{1} << 52) - 1,
                     kHalf = uint64_t{1022} << 52;  // exponent bits of 0.5
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1022;
  double m = std::bit_cast<double>((bits & kMantissa) | kHalf);  // in [0.5, 1)
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double t = (m - 1) / (m + 1), square = t * t;
  double sum = 0;
  for (int k = 25; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return 2 * t * sum + exponent * 0.69314718055994530942;
}

/// c0 + c1 x + c2 x^2 + ..., from the last coefficient on.
constexpr double polynomial(double, double coefficient) { return coefficient; }
template <class... Rest>
constexpr double polynomial(double x, double first, Rest... rest) {
  return polynomial(x, rest...) * x + first;
}

constexpr double normal_quantile(double p) {
  const double q = p - 0.5;
  if (-0.425 <= q && q <= 0.425) {
    const double r = 0.180625 - q * q;
    return q *
           polynomial(r, 3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                      1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                      3.3430575583588128105e4, 2.5090809287301226727e3) /
           polynomial(r, 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                      2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
                      5.2264952788528545610e3);
  }
  const double tail = std::sqrt(-logarithm_of_basic_operations(q < 0 ? p : 1 - p));
  double value = 0;
  if (tail <= 5) {
    const double r = tail - 1.6;
    value = polynomial(r, 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                       3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                       2.27238449892691845833e-2, 7.74545014278341407640e-4) /
            polynomial(r, 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                       1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                       1.05075007164441684324e-9);
  } else {
    const double r = tail - 5;
    value = polynomial(r, 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                       2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                       2.71155556874348757815e-5, 2.01033439929228813265e-7) /
            polynomial(r, 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
                       1.48753612908506148525e-2, 7.86869131145613259100e-4, 1.84631831751005468180e-5,
                       1.42151175831644588870e-7, 2.04426310338993978564e-15);
  }
  return q < 0 ? -value : value;
}

}  // namespace tessera
