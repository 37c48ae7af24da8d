// Integer arithmetic: add, sub, mul, mad, div, rem, min, max, abs, neg, sad, dp4a.  PTX ISA 9.0, section
// 9.7.1.

#include <algorithm>
#include <limits>
#include <type_traits>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/types.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Type;

/// Twice as wide, so that products and sums are exact.
template <class T>
using Wide = std::conditional_t<
    sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
    std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                       std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>>>;

/// Arithmetic modulo 2^bits: of unsigned type, where overflow is defined.
template <class T>
struct Modular {
  using U = std::make_unsigned_t<T>;
  static T add(T a, T b) { return static_cast<T>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b))); }
  static T sub(T a, T b) { return static_cast<T>(static_cast<U>(static_cast<U>(a) - static_cast<U>(b))); }
  static T neg(T a) { return sub(0, a); }
  static T abs(T a) { return a < 0 ? neg(a) : a; }
  static T min(T a, T b) { return b < a ? b : a; }
  static T max(T a, T b) { return a < b ? b : a; }
  static T mul_lo(T a, T b) {
    // 16-bit operands would be promoted to int, whose product can overflow.
    using Product = std::conditional_t<sizeof(T) == 2, uint32_t, U>;
    return static_cast<T>(static_cast<Product>(a) * static_cast<Product>(b));
  }
  static T mul_hi(T a, T b) {
    return static_cast<T>((static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b)) >> (8 * sizeof(T)));
  }
  static Wide<T> mul_wide(T a, T b) { return static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b); }
  static T mad_lo(T a, T b, T c) { return add(mul_lo(a, b), c); }
  static T mad_hi(T a, T b, T c) { return add(mul_hi(a, b), c); }
  static Wide<T> mad_wide(T a, T b, Wide<T> c) {
    using Sum = std::make_unsigned_t<Wide<T>>;
    return static_cast<Wide<T>>(static_cast<Sum>(mul_wide(a, b)) + static_cast<Sum>(c));
  }
  // Division by zero is unspecified; all ones and the dividend are what the usual algorithm leaves.
  static T div(T a, T b) {
    if (b == 0) return static_cast<T>(~T{0});
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return neg(a);
    }
    return static_cast<T>(a / b);
  }
  static T rem(T a, T b) {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return 0;
    }
    return static_cast<T>(a % b);
  }
  static T sad(T a, T b, T c) { return add(c, a < b ? sub(b, a) : sub(a, b)); }
};

int32_t saturate(int64_t value) {
  return static_cast<int32_t>(
      std::clamp<int64_t>(value, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
}
int32_t add_saturated(int32_t a, int32_t b) { return saturate(int64_t{a} + b); }
int32_t sub_saturated(int32_t a, int32_t b) { return saturate(int64_t{a} - b); }

/// Dot product of four bytes, the types of which are those of A and B.
template <class A, class B>
uint32_t dot_of_bytes(uint32_t a, uint32_t b, uint32_t c) {
  for (int byte = 0; byte < 32; byte += 8) {
    c += static_cast<uint32_t>(static_cast<int32_t>(static_cast<A>(a >> byte)) *
                               static_cast<int32_t>(static_cast<B>(b >> byte)));
  }
  return c;
}

template <class T>
Handler find_two_operands(Opcode opcode) {
  using M = Modular<T>;
  switch (opcode) {
    case Opcode::add:
      return binary<M::add, T, T>;
    case Opcode::sub:
      return binary<M::sub, T, T>;
    case Opcode::div:
      return binary<M::div, T, T>;
    case Opcode::rem:
      return binary<M::rem, T, T>;
    case Opcode::min:
      return binary<M::min, T, T>;
    case Opcode::max:
      return binary<M::max, T, T>;
    default:
      return nullptr;
  }
}

template <class T>
void decode_product(Form& form, bool adds) {
  using M = Modular<T>;
  const Modifier part = form.take_one_of({Modifier::lo, Modifier::hi, Modifier::wide}, Modifier::count);
  if (part != Modifier::wide) {
    if (adds) {
      form.place(sizeof(T), {sizeof(T), sizeof(T), sizeof(T)});
    } else {
      form.place(sizeof(T), {sizeof(T), sizeof(T)});
    }
    if (part == Modifier::lo) form.step.handler = adds ? ternary<M::mad_lo, T, T> : binary<M::mul_lo, T, T>;
    if (part == Modifier::hi) form.step.handler = adds ? ternary<M::mad_hi, T, T> : binary<M::mul_hi, T, T>;
    return;
  }
  if constexpr (sizeof(T) < 8) {
    if (adds) {
      form.place(2 * sizeof(T), {sizeof(T), sizeof(T), 2 * sizeof(T)});
    } else {
      form.place(2 * sizeof(T), {sizeof(T), sizeof(T)});
    }
    form.step.handler = adds ? ternary<M::mad_wide, Wide<T>, T> : binary<M::mul_wide, Wide<T>, T>;
  } else {
    form.fail("products of 64-bit factors cannot be wide");
  }
}

void decode_dot(Form& form) {
  form.place(4, {4, 4, 4});
  const bool a = form.type(0) == Type::s32, b = form.type(1) == Type::s32;
  using Unsigned = uint32_t;
  form.step.handler = a ? (b ? ternary<dot_of_bytes<int8_t, int8_t>, Unsigned, Unsigned>
                             : ternary<dot_of_bytes<int8_t, uint8_t>, Unsigned, Unsigned>)
                        : (b ? ternary<dot_of_bytes<uint8_t, int8_t>, Unsigned, Unsigned>
                             : ternary<dot_of_bytes<uint8_t, uint8_t>, Unsigned, Unsigned>);
}

template <class T>
void decode_of_type(Form& form) {
  using M = Modular<T>;
  const Opcode opcode = form.opcode();
  if (opcode == Opcode::mul || opcode == Opcode::mad) {
    decode_product<T>(form, opcode == Opcode::mad);
  } else if (opcode == Opcode::neg || opcode == Opcode::abs) {
    form.place(sizeof(T), {sizeof(T)});
    form.step.handler = opcode == Opcode::neg ? unary<M::neg, T, T> : unary<M::abs, T, T>;
  } else if (opcode == Opcode::sad) {
    form.place(sizeof(T), {sizeof(T), sizeof(T), sizeof(T)});
    form.step.handler = ternary<M::sad, T, T>;
  } else {
    form.place(sizeof(T), {sizeof(T), sizeof(T)});
    form.step.handler = find_two_operands<T>(opcode);
  }
}

}  // namespace

bool decode_integer(Form& form) {
  switch (form.opcode()) {
    case Opcode::add:
    case Opcode::sub:
    case Opcode::mul:
    case Opcode::mad:
    case Opcode::div:
    case Opcode::rem:
    case Opcode::min:
    case Opcode::max:
    case Opcode::abs:
    case Opcode::neg:
    case Opcode::sad:
      break;
    case Opcode::dp4a:
      decode_dot(form);
      return true;
    default:
      return false;
  }
  if (!is_integer(form.type())) return false;
  if (form.type() == Type::s32 && (form.opcode() == Opcode::add || form.opcode() == Opcode::sub) &&
      form.take(Modifier::sat)) {
    form.place(4, {4, 4});
    form.step.handler = form.opcode() == Opcode::add ? binary<add_saturated, int32_t, int32_t>
                                                     : binary<sub_saturated, int32_t, int32_t>;
    return true;
  }
  visit_integer(form.type(), [&]<class T> { decode_of_type<T>(form); });
  return form.step.handler != nullptr;
}

}  // namespace simulated_gpu
