// Arithmetic of f16 and bf16, single and packed in pairs: add, sub, mul, fma, min, max, abs, neg.  Results
// are those of exact arithmetic rounded once to nearest.  PTX ISA 9.0, section 9.7.4.

#include <algorithm>
#include <cmath>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/number.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Type;

enum Option : uint32_t { kFlush = 1, kSaturate = 2, kRelu = 4, kNan = 8 };

/// Operations on the exact values; products of 11-bit significands are exact in double, sums are rounded to
/// odd.
double add(double a, double b, double) { return add_to_odd(a, b); }
double sub(double a, double b, double) { return add_to_odd(a, -b); }
double mul(double a, double b, double) { return a * b; }
double fma(double a, double b, double c) { return add_to_odd(a * b, c); }
double min(double a, double b, double) {
  if (a == b) return std::signbit(a) ? a : b;
  return std::fmin(a, b);
}
double max(double a, double b, double) {
  if (a == b) return std::signbit(a) ? b : a;
  return std::fmax(a, b);
}
double min_nan(double a, double b, double c) { return a != a || b != b ? NAN : min(a, b, c); }
double max_nan(double a, double b, double c) { return a != a || b != b ? NAN : max(a, b, c); }

template <bool is_bf16>
double value_of(uint16_t bits) {
  return is_bf16 ? double{bf16_value(bits)} : decode(bits, kF16);
}

template <bool is_bf16>
uint16_t apply(double (*f)(double, double, double), uint32_t option, uint16_t a, uint16_t b, uint16_t c) {
  constexpr Format format = is_bf16 ? kBf16 : kF16;
  const double smallest_normal = is_bf16 ? 0x1p-126 : 0x1p-14;
  const auto flushed = [&](double value) {
    return (option & kFlush) != 0 && std::fabs(value) < smallest_normal ? std::copysign(0.0, value) : value;
  };
  double result =
      f(flushed(value_of<is_bf16>(a)), flushed(value_of<is_bf16>(b)), flushed(value_of<is_bf16>(c)));
  if ((option & kSaturate) != 0) result = result > 0 ? std::min(result, 1.0) : 0.0;
  if ((option & kRelu) != 0 && result < 0) result = 0;
  const auto bits = static_cast<uint16_t>(encode(result, format, Rounding::nearest));
  const bool is_flushed = (option & kFlush) != 0 && std::fabs(value_of<is_bf16>(bits)) < smallest_normal;
  return is_flushed ? static_cast<uint16_t>(bits & 0x8000) : bits;
}

/// W is uint16_t for one value, uint32_t for two.
template <double (*F)(double, double, double), bool is_bf16, class W>
void half_operation(Warp& warp, const Step& step, uint32_t mask) {
  W* d = warp.lanes<W>(step.destination);
  const W *a = warp.lanes<W>(step.sources[0]), *b = warp.lanes<W>(step.sources[1]),
          *c = warp.lanes<W>(step.sources[2]);
  const uint32_t option = step.option;
  for_lanes(mask, [=](uint32_t lane) {
    W result = 0;
    for (size_t shift = 0; shift < 8 * sizeof(W); shift += 16) {
      const uint16_t part =
          apply<is_bf16>(F, option, static_cast<uint16_t>(a[lane] >> shift),
                         static_cast<uint16_t>(b[lane] >> shift), static_cast<uint16_t>(c[lane] >> shift));
      result = static_cast<W>(result | static_cast<W>(W{part} << shift));
    }
    d[lane] = result;
  });
}

template <class W>
void negate(Warp& warp, const Step& step, uint32_t mask) {
  unary<[](W a) { return static_cast<W>(a ^ static_cast<W>(0x80008000)); }, W, W>(warp, step, mask);
}

template <class W>
void magnitude(Warp& warp, const Step& step, uint32_t mask) {
  unary<[](W a) { return static_cast<W>(a & static_cast<W>(0x7fff7fff)); }, W, W>(warp, step, mask);
}

template <double (*F)(double, double, double)>
Handler choose(bool is_bf16, uint32_t bytes) {
  if (bytes == 2) return is_bf16 ? half_operation<F, true, uint16_t> : half_operation<F, false, uint16_t>;
  return is_bf16 ? half_operation<F, true, uint32_t> : half_operation<F, false, uint32_t>;
}

}  // namespace

bool decode_half(Form& form) {
  const Type type = form.type();
  const bool is_bf16 = type == Type::bf16 || type == Type::bf16x2;
  if (!is_bf16 && type != Type::f16 && type != Type::f16x2) return false;
  const uint32_t bytes = ptx::bytes_of(type);
  const bool takes_nan = form.opcode() == Opcode::min || form.opcode() == Opcode::max;
  const bool nan = takes_nan && form.instruction().has(Modifier::passes_nan);
  Handler handler = nullptr;
  size_t sources = 2;
  switch (form.opcode()) {
    case Opcode::add:
      handler = choose<add>(is_bf16, bytes);
      break;
    case Opcode::sub:
      handler = choose<sub>(is_bf16, bytes);
      break;
    case Opcode::mul:
      handler = choose<mul>(is_bf16, bytes);
      break;
    case Opcode::min:
      handler = nan ? choose<min_nan>(is_bf16, bytes) : choose<min>(is_bf16, bytes);
      break;
    case Opcode::max:
      handler = nan ? choose<max_nan>(is_bf16, bytes) : choose<max>(is_bf16, bytes);
      break;
    case Opcode::fma:
      handler = choose<fma>(is_bf16, bytes);
      sources = 3;
      break;
    case Opcode::neg:
    case Opcode::abs:
      sources = 1;
      if (form.opcode() == Opcode::neg) handler = bytes == 2 ? negate<uint16_t> : negate<uint32_t>;
      if (form.opcode() == Opcode::abs) handler = bytes == 2 ? magnitude<uint16_t> : magnitude<uint32_t>;
      break;
    default:
      return false;
  }
  form.expect_operands(sources + 1);
  form.step.destination = form.destination(0, bytes);
  // Operations on fewer than three operands do not look at the others.
  for (size_t index = 0; index < 3; ++index)
    form.step.sources[index] = form.source(std::min(index + 1, sources), bytes);
  if (takes_nan) form.take(Modifier::passes_nan);
  form.take(Modifier::rn);
  if (sources > 1 && form.take(Modifier::ftz)) form.step.option |= kFlush;
  if (form.take(Modifier::sat)) form.step.option |= kSaturate;
  if (form.opcode() == Opcode::fma && form.take(Modifier::relu)) form.step.option |= kRelu;
  form.step.handler = handler;
  return true;
}

}  // namespace simulated_gpu
