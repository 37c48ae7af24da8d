#pragma once
// Floating-point formats and roundings of the device, on the host.

#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/simulated_gpu/device/lanes.h"

namespace simulated_gpu {

/// nearest_away: ties go away from zero.
enum class Rounding : uint8_t { nearest, zero, down, up, nearest_away };

/// A binary format with sign, exponent and mantissa, infinities and NaN.
struct Format {
  int exponent_bits, mantissa_bits;
};
inline constexpr Format kF16{5, 10}, kBf16{8, 7}, kTf32{8, 10}, kF32{8, 23};

/// The value rounded once into the format; NaN is the canonical 0x7fff... of the format.  tf32 is
/// left-aligned as in f32.
uint32_t encode(double value, Format format, Rounding rounding);
/// Exact.
double decode(uint32_t bits, Format format);

/// a + b such that a later rounding to 50 or fewer bits comes out as if the sum had been exact: its last bit
/// says whether something was cut off (rounding to odd; Boldo and Melquiond, 2008).
double add_to_odd(double a, double b);

inline float bf16_value(uint16_t bits) { return bits_as<float>(static_cast<uint32_t>(bits) << 16); }
/// To nearest, ties to even.
inline uint16_t bf16_bits(float value) {
  const auto bits = bits_as<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded);
}

/// Results of single precision have one NaN.  PTX ISA 9.0, section 9.7.3.
inline float canonical(float value) { return value != value ? bits_as<float>(0x7fffffffu) : value; }
inline double canonical(double value) { return value; }

/// Subnormals become zero of the same sign.
inline float flush(float value) {
  return std::fabs(value) < std::numeric_limits<float>::min() ? std::copysign(0.0f, value) : value;
}

/// Sets the rounding of the host's arithmetic for its lifetime.
class RoundingScope {
 public:
  explicit RoundingScope(Rounding rounding);  ///< not nearest_away
  ~RoundingScope();
  RoundingScope(const RoundingScope&) = delete;
  RoundingScope& operator=(const RoundingScope&) = delete;

 private:
  int before_;
};

}  // namespace simulated_gpu
