// cvt.  PTX ISA 9.0, section 9.7.9.
//
// The usual conversions have loops of their own; all others go lane by lane through one exact value.

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/number.h"
#include "tests/simulated_gpu/device/types.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Type;

/// Step::option: from and to are types, the rest is as the instruction says.
struct Conversion {
  Type from, to;
  Rounding rounding;
  bool is_integral;  ///< rounds to an integer
  bool flushes, saturates, is_relu, is_finite;
  uint32_t from_bytes, to_bytes;  ///< of the registers
};
constexpr int kFrom = 0, kTo = 5, kRounding = 10, kFlags = 13, kFromBytes = 18, kToBytes = 22;

uint32_t encode_option(const Conversion& c) {
  const uint32_t flags = static_cast<uint32_t>(c.is_integral) | static_cast<uint32_t>(c.flushes) << 1 |
                         static_cast<uint32_t>(c.saturates) << 2 | static_cast<uint32_t>(c.is_relu) << 3 |
                         static_cast<uint32_t>(c.is_finite) << 4;
  return static_cast<uint32_t>(c.from) << kFrom | static_cast<uint32_t>(c.to) << kTo |
         static_cast<uint32_t>(c.rounding) << kRounding | flags << kFlags | c.from_bytes << kFromBytes |
         c.to_bytes << kToBytes;
}

Conversion decode_option(uint32_t option) {
  const uint32_t flags = option >> kFlags;
  return {static_cast<Type>(option >> kFrom & 31),
          static_cast<Type>(option >> kTo & 31),
          static_cast<Rounding>(option >> kRounding & 7),
          (flags & 1) != 0,
          (flags & 2) != 0,
          (flags & 4) != 0,
          (flags & 8) != 0,
          (flags & 16) != 0,
          option >> kFromBytes & 15,
          option >> kToBytes & 15};
}

bool is_float(Type type) { return !is_integer(type); }

/// Sign- or zero-extended.
__int128 integer_value(uint64_t bits, Type type) {
  const auto shift = static_cast<int>(64 - 8 * ptx::bytes_of(type));
  if (is_signed(type)) return static_cast<int64_t>(bits << shift) >> shift;
  return (bits << shift) >> shift;
}

double float_value(uint64_t bits, Type type) {
  switch (type) {
    case Type::f16:
      return decode(static_cast<uint32_t>(bits & 0xffff), kF16);
    case Type::bf16:
      return bf16_value(static_cast<uint16_t>(bits));
    case Type::f32:
      return bits_as<float>(static_cast<uint32_t>(bits));
    default:
      return bits_as<double>(bits);
  }
}

__int128 largest(Type type) {
  const auto bits = static_cast<int>(8 * ptx::bytes_of(type)) - (is_signed(type) ? 1 : 0);
  return (static_cast<__int128>(1) << bits) - 1;
}
__int128 smallest(Type type) { return is_signed(type) ? -largest(type) - 1 : 0; }

double round_to_integer(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::zero:
      return std::trunc(value);
    case Rounding::down:
      return std::floor(value);
    case Rounding::up:
      return std::ceil(value);
    default:
      return std::nearbyint(value);
  }
}

/// Beyond the range of the type the nearest end; NaN is 0 unless 64-bit types take part.
uint64_t integer_from_float(double value, const Conversion& c) {
  if (value != value) {
    const bool is_long = c.from == Type::f64 || ptx::bytes_of(c.to) == 8;
    return is_long ? uint64_t{1} << (8 * ptx::bytes_of(c.to) - 1) : 0;
  }
  const double whole = round_to_integer(value, c.rounding);
  if (whole >= 0x1p65) return static_cast<uint64_t>(largest(c.to));
  if (whole <= -0x1p65) return static_cast<uint64_t>(smallest(c.to));
  return static_cast<uint64_t>(std::clamp(static_cast<__int128>(whole), smallest(c.to), largest(c.to)));
}

uint64_t float_bits(double value, const Conversion& c) {
  if (c.saturates) value = value > 0 ? std::min(value, 1.0) : 0.0;
  if (c.is_relu && !(value > 0) && value == value) value = 0;
  uint64_t bits = 0;
  switch (c.to) {
    case Type::f64:
      return bits_as<uint64_t>(value);
    case Type::f16:
      bits = encode(value, kF16, c.rounding);
      break;
    case Type::bf16:
      bits = encode(value, kBf16, c.rounding);
      break;
    case Type::tf32:
      bits = encode(value, kTf32, c.rounding);
      break;
    default:
      bits = encode(value, kF32, c.rounding);
      break;
  }
  if (c.is_finite && std::isinf(float_value(bits, c.to == Type::tf32 ? Type::f32 : c.to))) --bits;
  if (c.flushes && c.to == Type::f32) {
    bits = bits_as<uint32_t>(flush(bits_as<float>(static_cast<uint32_t>(bits))));
  }
  return bits;
}

uint64_t float_from_integer(__int128 value, const Conversion& c) {
  if (c.to == Type::f64) {
    const RoundingScope scope(c.rounding);
    const volatile int64_t high = static_cast<int64_t>(value >> 32);
    const volatile auto low = static_cast<double>(static_cast<int64_t>(value & 0xffffffff));
    const volatile double scaled = static_cast<double>(high) * 0x1p32;
    const volatile double sum = scaled + low;
    return bits_as<uint64_t>(double{sum});
  }
  const double high = static_cast<double>(static_cast<int64_t>(value >> 32)) * 0x1p32;
  return float_bits(add_to_odd(high, static_cast<double>(static_cast<int64_t>(value & 0xffffffff))), c);
}

uint64_t convert(uint64_t bits, const Conversion& c) {
  if (is_float(c.from)) {
    double value = float_value(bits, c.from);
    if (c.flushes && c.from == Type::f32) value = flush(static_cast<float>(value));
    if (!is_float(c.to)) return integer_from_float(value, c);
    if (c.is_integral) value = round_to_integer(value, c.rounding);
    return float_bits(value, c);
  }
  const __int128 value = integer_value(bits, c.from);
  if (is_float(c.to)) return float_from_integer(value, c);
  return static_cast<uint64_t>(c.saturates ? std::clamp(value, smallest(c.to), largest(c.to)) : value);
}

void convert_lanes(Warp& warp, const Step& step, uint32_t mask) {
  const Conversion c = decode_option(step.option);
  const std::byte* a = warp.lanes<std::byte>(step.sources[0]);
  std::byte* d = warp.lanes<std::byte>(step.destination);
  for_lanes(mask, [&](uint32_t lane) {
    uint64_t bits = 0;
    std::memcpy(&bits, a + lane * c.from_bytes, c.from_bytes);
    uint64_t result = convert(bits, c);
    if (!is_float(c.to))
      result = static_cast<uint64_t>(integer_value(result, c.to));  // into a wider register
    std::memcpy(d + lane * c.to_bytes, &result, c.to_bytes);
  });
}

/// cvt.rn.bf16x2.f32 d, a, b: a becomes the upper half.
void convert_pair(Warp& warp, const Step& step, uint32_t mask) {
  const Conversion c = decode_option(step.option);
  const uint32_t *a = warp.lanes<uint32_t>(step.sources[0]), *b = warp.lanes<uint32_t>(step.sources[1]);
  uint32_t* d = warp.lanes<uint32_t>(step.destination);
  for_lanes(mask, [&](uint32_t lane) {
    d[lane] = static_cast<uint32_t>(convert(a[lane], c) << 16 | convert(b[lane], c));
  });
}

template <class D, class S>
void convert_fast(Warp& warp, const Step& step, uint32_t mask) {
  unary<[](S value) { return static_cast<D>(value); }, D, S>(warp, step, mask);
}
template <class S>
void convert_to_single(Warp& warp, const Step& step, uint32_t mask) {
  unary<[](S value) { return canonical(static_cast<float>(value)); }, float, S>(warp, step, mask);
}

Handler find_fast_integer(Type to, Type from) {
  Handler handler = nullptr;
  visit_integer(to, [&]<class D> {
    visit_integer(from, [&]<class S> { handler = convert_fast<std::make_unsigned_t<D>, S>; });
  });
  return handler;
}

/// Loops for registers of exactly the size of their types, rounding to nearest, nothing else.
Handler find_fast(const Conversion& c) {
  const bool is_plain = !c.is_integral && !c.flushes && !c.saturates && !c.is_relu && !c.is_finite &&
                        c.rounding == Rounding::nearest && c.from_bytes == ptx::bytes_of(c.from) &&
                        c.to_bytes == ptx::bytes_of(c.to);
  if (!is_plain) return nullptr;
  if (!is_float(c.to) && !is_float(c.from)) return find_fast_integer(c.to, c.from);
  if (c.to == Type::f32 && c.from == Type::s32) return convert_fast<float, int32_t>;
  if (c.to == Type::f32 && c.from == Type::u32) return convert_fast<float, uint32_t>;
  if (c.to == Type::f32 && c.from == Type::f64) return convert_to_single<double>;
  if (c.to == Type::f64 && c.from == Type::f32) return convert_fast<double, float>;
  if (c.to == Type::f64 && c.from == Type::s32) return convert_fast<double, int32_t>;
  if (c.to == Type::f32 && c.from == Type::bf16) return unary<bf16_value, float, uint16_t>;
  if (c.to == Type::bf16 && c.from == Type::f32) return unary<bf16_bits, uint16_t, float>;
  return nullptr;
}

Conversion take_conversion(Form& form) {
  Conversion c{};
  c.to = form.type(0);
  c.from = form.type(1);
  using M = Modifier;
  const M rounding =
      form.take_one_of({M::rn, M::rz, M::rm, M::rp, M::rna, M::rni, M::rzi, M::rmi, M::rpi}, M::count);
  c.is_integral = rounding == M::rni || rounding == M::rzi || rounding == M::rmi || rounding == M::rpi;
  if (rounding == M::rz || rounding == M::rzi) c.rounding = Rounding::zero;
  if (rounding == M::rm || rounding == M::rmi) c.rounding = Rounding::down;
  if (rounding == M::rp || rounding == M::rpi) c.rounding = Rounding::up;
  if (rounding == M::rna) c.rounding = Rounding::nearest_away;
  if (is_float(c.from) && !is_float(c.to) && !c.is_integral)
    form.fail("a float to an integer needs .rni, .rzi, .rmi or .rpi");
  c.flushes = form.take(M::ftz);
  c.saturates = form.take(M::sat);
  c.is_relu = form.take(M::relu);
  c.is_finite = form.take(M::satfinite);
  return c;
}

bool is_known(Type type, bool as_result) {
  return is_integer(type) || type == Type::f16 || type == Type::bf16 || type == Type::f32 ||
         type == Type::f64 || (as_result && type == Type::tf32);
}

}  // namespace

bool decode_conversion(Form& form) {
  if (form.opcode() != ptx::Opcode::cvt) return false;
  Conversion c = take_conversion(form);
  if (c.to == Type::f16x2 || c.to == Type::bf16x2) {
    if (c.from != Type::f32) return false;
    form.place(4, {4, 4});
    c.to = c.to == Type::f16x2 ? Type::f16 : Type::bf16;
    form.step.option = encode_option(c);
    form.step.handler = convert_pair;
    return true;
  }
  if (!is_known(c.to, true) || !is_known(c.from, false)) return false;
  form.expect_operands(2);
  form.step.destination = form.wide_destination(0, c.to, c.to_bytes);
  form.step.sources[0] = form.wide_source(form.operand(1), c.from, c.from_bytes);
  form.step.option = encode_option(c);
  const Handler fast = find_fast(c);
  form.step.handler = fast != nullptr ? fast : convert_lanes;
  return true;
}

}  // namespace simulated_gpu
