// Arithmetic of f32 and f64: add, sub, mul, fma, min, max, abs, neg, copysign, and div, rcp, sqrt where they
// are rounded as IEEE 754 wants.  PTX ISA 9.0, section 9.7.3.

#include <cmath>
#include <type_traits>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/number.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Type;

template <class T>
struct Real {
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  static constexpr Bits kSign = Bits{1} << (8 * sizeof(T) - 1);

  static T add(T a, T b) { return canonical(a + b); }
  static T sub(T a, T b) { return canonical(a - b); }
  static T mul(T a, T b) { return canonical(a * b); }
  static T div(T a, T b) { return canonical(a / b); }
  static T fma(T a, T b, T c) { return canonical(std::fma(a, b, c)); }
  static T rcp(T a) { return canonical(1 / a); }
  static T sqrt(T a) { return canonical(std::sqrt(a)); }
  static T neg(T a) { return bits_as<T>(static_cast<Bits>(bits_as<Bits>(a) ^ kSign)); }
  static T abs(T a) { return bits_as<T>(static_cast<Bits>(bits_as<Bits>(a) & ~kSign)); }
  /// Magnitude of b with the sign of a.
  static T copysign(T a, T b) { return std::copysign(b, a); }
  /// A NaN loses against a number; -0 is less than +0.
  static T min(T a, T b) {
    if (a != a) return canonical(b);
    if (b != b) return a;
    if (a == b) return std::signbit(a) ? a : b;
    return a < b ? a : b;
  }
  static T max(T a, T b) {
    if (a != a) return canonical(b);
    if (b != b) return a;
    if (a == b) return std::signbit(a) ? b : a;
    return a < b ? b : a;
  }
  static T min_nan(T a, T b) { return a != a || b != b ? canonical(a + b) : min(a, b); }
  static T max_nan(T a, T b) { return a != a || b != b ? canonical(a + b) : max(a, b); }
};

/// Step::option where an instruction has more than its plain form.
enum Option : uint32_t { kFlush = 4, kSaturate = 8 };  // the lowest two bits are the Rounding

/// Any function with flushing, saturation and directed rounding.  F may take one to three operands.
template <auto F, class T, int operands>
void with_options(Warp& warp, const Step& step, uint32_t mask) {
  T* d = warp.lanes<T>(step.destination);
  const T* sources[3] = {};
  for (int index = 0; index < operands; ++index) sources[index] = warp.lanes<T>(step.sources[index]);
  const bool flushes = (step.option & kFlush) != 0, saturates = (step.option & kSaturate) != 0;
  const auto input = [&](int index, uint32_t lane) {
    const T value = sources[index][lane];
    if constexpr (sizeof(T) == 4) return flushes ? flush(value) : value;
    return value;
  };
  // The host computes between loads and stores of memory that fesetround might see, so it cannot move out of
  // the scope.
  const RoundingScope scope(static_cast<Rounding>(step.option & 3));
  for_lanes(mask, [&](uint32_t lane) {
    T result;
    if constexpr (operands == 1) result = F(input(0, lane));
    if constexpr (operands == 2) result = F(input(0, lane), input(1, lane));
    if constexpr (operands == 3) result = F(input(0, lane), input(1, lane), input(2, lane));
    if constexpr (sizeof(T) == 4) {
      if (flushes) result = flush(result);
    }
    if (saturates) result = result > 0 ? (result < 1 ? result : T{1}) : T{0};  // NaN becomes 0
    d[lane] = result;
  });
}

uint32_t take_options(Form& form) {
  const Modifier rounding =
      form.take_one_of({Modifier::rn, Modifier::rz, Modifier::rm, Modifier::rp}, Modifier::rn);
  uint32_t option = 0;
  if (rounding == Modifier::rz) option = static_cast<uint32_t>(Rounding::zero);
  if (rounding == Modifier::rm) option = static_cast<uint32_t>(Rounding::down);
  if (rounding == Modifier::rp) option = static_cast<uint32_t>(Rounding::up);
  if (form.take(Modifier::ftz)) option |= kFlush;
  if (form.take(Modifier::sat)) option |= kSaturate;
  return option;
}

template <auto F, class T, int operands>
void set_handler(Form& form) {
  constexpr uint32_t bytes = sizeof(T);
  if constexpr (operands == 1) form.place(bytes, {bytes});
  if constexpr (operands == 2) form.place(bytes, {bytes, bytes});
  if constexpr (operands == 3) form.place(bytes, {bytes, bytes, bytes});
  form.step.option = take_options(form);
  if (form.step.option != 0) {
    form.step.handler = with_options<F, T, operands>;
  } else {
    if constexpr (operands == 1) form.step.handler = unary<F, T, T>;
    if constexpr (operands == 2) form.step.handler = binary<F, T, T>;
    if constexpr (operands == 3) form.step.handler = ternary<F, T, T>;
  }
}

template <class T>
bool decode_real(Form& form) {
  using R = Real<T>;
  switch (form.opcode()) {
    case Opcode::add:
      set_handler<R::add, T, 2>(form);
      return true;
    case Opcode::sub:
      set_handler<R::sub, T, 2>(form);
      return true;
    case Opcode::mul:
      set_handler<R::mul, T, 2>(form);
      return true;
    case Opcode::div:
      set_handler<R::div, T, 2>(form);
      return true;
    case Opcode::mad:
    case Opcode::fma:
      set_handler<R::fma, T, 3>(form);
      return true;
    case Opcode::rcp:
      set_handler<R::rcp, T, 1>(form);
      return true;
    case Opcode::sqrt:
      set_handler<R::sqrt, T, 1>(form);
      return true;
    case Opcode::neg:
      set_handler<R::neg, T, 1>(form);
      return true;
    case Opcode::abs:
      set_handler<R::abs, T, 1>(form);
      return true;
    case Opcode::copysign:
      set_handler<R::copysign, T, 2>(form);
      return true;
    case Opcode::min:
      form.take(Modifier::passes_nan) ? set_handler<R::min_nan, T, 2>(form) : set_handler<R::min, T, 2>(form);
      return true;
    case Opcode::max:
      form.take(Modifier::passes_nan) ? set_handler<R::max_nan, T, 2>(form) : set_handler<R::max, T, 2>(form);
      return true;
    default:
      return false;
  }
}

}  // namespace

bool decode_float(Form& form) {
  if (form.type() == Type::f32) return decode_real<float>(form);
  if (form.type() == Type::f64) return decode_real<double>(form);
  return false;
}

}  // namespace simulated_gpu
