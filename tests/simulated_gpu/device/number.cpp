#include "tests/simulated_gpu/device/number.h"

#include <cfenv>

namespace simulated_gpu {
namespace {

bool rounds_up(Rounding rounding, bool is_negative, bool is_odd, uint64_t rest, uint64_t half) {
  switch (rounding) {
    case Rounding::nearest:
      return rest > half || (rest == half && is_odd);
    case Rounding::nearest_away:
      return rest >= half;
    case Rounding::zero:
      return false;
    case Rounding::down:
      return is_negative && rest != 0;
    case Rounding::up:
      return !is_negative && rest != 0;
  }
  return false;
}

}  // namespace

uint32_t encode(double value, Format format, Rounding rounding) {
  constexpr int kDoubleBits = 52, kDoubleBias = 1023;
  const int width = 1 + format.exponent_bits + format.mantissa_bits;
  const int alignment = format.mantissa_bits == kTf32.mantissa_bits && format.exponent_bits == 8 ? 13 : 0;
  const uint32_t infinity = ((1u << format.exponent_bits) - 1) << format.mantissa_bits;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  if (value != value) return ((1u << (width - 1)) - 1) << alignment | (alignment != 0 ? 0x1fffu : 0u);
  const auto bits = bits_as<uint64_t>(value);
  const bool is_negative = bits >> 63 != 0;
  const uint32_t sign = static_cast<uint32_t>(is_negative) << (width - 1);
  if (std::isinf(value)) return (sign | infinity) << alignment;
  if (value == 0) return sign << alignment;
  int exponent = static_cast<int>(bits >> kDoubleBits & 0x7ff) - kDoubleBias;
  uint64_t mantissa = (bits & ((uint64_t{1} << kDoubleBits) - 1)) | uint64_t{1} << kDoubleBits;
  if (exponent == -kDoubleBias)
    mantissa &= ~(uint64_t{1} << kDoubleBits);  // subnormal doubles: far below any format
  int shift = kDoubleBits - format.mantissa_bits;
  uint32_t biased = 0;
  if (exponent + bias >= 1) {
    biased = static_cast<uint32_t>(exponent + bias);
  } else {
    shift += 1 - (exponent + bias);  // subnormal in the format
    if (shift > 60) shift = 60;      // all that is left of it is that it is not zero
  }
  uint64_t kept = mantissa >> shift;
  const uint64_t rest = mantissa & ((uint64_t{1} << shift) - 1);
  if (rounds_up(rounding, is_negative, (kept & 1) != 0, rest, uint64_t{1} << (shift - 1))) ++kept;
  // A carry out of the mantissa moves into the exponent, which is what rounding up to the next power of two
  // needs.
  const uint64_t hidden = biased != 0 ? uint64_t{1} << format.mantissa_bits : 0;
  uint64_t magnitude = (static_cast<uint64_t>(biased) << format.mantissa_bits) + (kept - hidden);
  if (magnitude >= infinity) {
    const bool to_infinity = rounding == Rounding::nearest || rounding == Rounding::nearest_away ||
                             (rounding == Rounding::up) != is_negative;
    magnitude = rounding != Rounding::zero && to_infinity ? infinity : infinity - 1;
  }
  return (sign | static_cast<uint32_t>(magnitude)) << alignment;
}

double decode(uint32_t bits, Format format) {
  const uint32_t mantissa = bits & ((1u << format.mantissa_bits) - 1);
  const uint32_t exponent = bits >> format.mantissa_bits & ((1u << format.exponent_bits) - 1);
  const bool is_negative = (bits >> (format.mantissa_bits + format.exponent_bits) & 1) != 0;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  double value;
  if (exponent == (1u << format.exponent_bits) - 1) {
    value =
        mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, 1 - bias - format.mantissa_bits);
  } else {
    value = std::ldexp(mantissa | 1u << format.mantissa_bits,
                       static_cast<int>(exponent) - bias - format.mantissa_bits);
  }
  return is_negative ? -value : value;
}

double add_to_odd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  if (error == 0 || (bits_as<uint64_t>(sum) & 1) != 0) return sum;
  return std::nextafter(
      sum, error > 0 ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity());
}

RoundingScope::RoundingScope(Rounding rounding) : before_(std::fegetround()) {
  constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  std::fesetround(kModes[static_cast<int>(rounding)]);
}

RoundingScope::~RoundingScope() { std::fesetround(before_); }

}  // namespace simulated_gpu
