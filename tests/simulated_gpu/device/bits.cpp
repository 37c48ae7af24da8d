// Bits: and, or, xor, not, shl, shr, shf, lop3, prmt, bfe, bfi, popc, clz, brev, bfind.  PTX ISA 9.0,
// sections 9.7.1 and 9.7.8.

#include <algorithm>
#include <type_traits>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/types.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Type;

template <class T>
struct Bits {
  static constexpr uint32_t kWidth = 8 * sizeof(T);
  static T and_(T a, T b) { return static_cast<T>(a & b); }
  static T or_(T a, T b) { return static_cast<T>(a | b); }
  static T xor_(T a, T b) { return static_cast<T>(a ^ b); }
  static T not_(T a) { return static_cast<T>(~a); }
  static T shl(T a, uint32_t count) { return count >= kWidth ? T{0} : static_cast<T>(a << count); }
  /// Of a signed type the sign moves in, so that shifts beyond the width give 0 or -1.
  static T shr(T a, uint32_t count) {
    if constexpr (std::is_signed_v<T>) return static_cast<T>(a >> std::min(count, kWidth - 1));
    return count >= kWidth ? T{0} : static_cast<T>(a >> count);
  }
  static uint32_t popc(T a) { return static_cast<uint32_t>(__builtin_popcountll(a)); }
  static uint32_t clz(T a) {
    return a == 0 ? kWidth : static_cast<uint32_t>(__builtin_clzll(a)) - (64 - kWidth);
  }
  static T brev(T a) {
    T result = 0;
    for (uint32_t bit = 0; bit < kWidth; ++bit)
      result |= static_cast<T>((a >> bit & 1) << (kWidth - 1 - bit));
    return result;
  }
  /// Position of the highest bit that differs from the sign (of unsigned: from 0), or all ones.
  static uint32_t bfind(T a) {
    using U = std::make_unsigned_t<T>;
    const U bits = a < 0 ? static_cast<U>(~a) : static_cast<U>(a);
    return bits == 0 ? ~0u : kWidth - 1 - Bits<U>::clz(bits);
  }
  static uint32_t bfind_shift(T a) {
    const uint32_t position = bfind(a);
    return position == ~0u ? position : kWidth - 1 - position;
  }
  /// `count` bits from `position` on; bits beyond the word are copies of the sign.
  static T bfe(T a, uint32_t position, uint32_t count) {
    position &= 255;
    count &= 255;
    if (count == 0) return 0;
    const uint32_t top = std::min(position + count - 1, kWidth - 1);
    const bool sign = std::is_signed_v<T> && (static_cast<uint64_t>(a) >> top & 1) != 0;
    T result = 0;
    for (uint32_t bit = 0; bit < kWidth; ++bit) {
      const bool is_set = bit < count && position + bit < kWidth ? (a >> (position + bit) & 1) != 0 : sign;
      result |= static_cast<T>(static_cast<T>(is_set) << bit);
    }
    return result;
  }
};

uint32_t shf_l(uint32_t low, uint32_t high, uint32_t count) {
  return static_cast<uint32_t>(((uint64_t{high} << 32 | low) << count) >> 32);
}
uint32_t shf_r(uint32_t low, uint32_t high, uint32_t count) {
  return static_cast<uint32_t>((uint64_t{high} << 32 | low) >> count);
}
uint32_t shf_l_wrap(uint32_t a, uint32_t b, uint32_t c) { return shf_l(a, b, c & 31); }
uint32_t shf_r_wrap(uint32_t a, uint32_t b, uint32_t c) { return shf_r(a, b, c & 31); }
uint32_t shf_l_clamp(uint32_t a, uint32_t b, uint32_t c) { return shf_l(a, b, std::min(c, 32u)); }
uint32_t shf_r_clamp(uint32_t a, uint32_t b, uint32_t c) { return shf_r(a, b, std::min(c, 32u)); }

/// Each selector nibble names a byte of the pair; its high bit asks for the sign of that byte instead.
uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t pair = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (uint32_t byte = 0; byte < 4; ++byte) {
    const uint32_t nibble = selector >> (4 * byte) & 15;
    uint32_t value = static_cast<uint32_t>(pair >> (8 * (nibble & 7))) & 255;
    if ((nibble & 8) != 0) value = (value & 128) != 0 ? 255 : 0;
    result |= value << (8 * byte);
  }
  return result;
}

/// d = b with `count` low bits of a inserted at `position`: sources a, b, position, count.
template <class T>
void insert_bits(Warp& warp, const Step& step, uint32_t mask) {
  T* d = warp.lanes<T>(step.destination);
  const T *a = warp.lanes<T>(step.sources[0]), *b = warp.lanes<T>(step.sources[1]);
  const uint32_t *position = warp.lanes<uint32_t>(step.sources[2]),
                 *count = warp.lanes<uint32_t>(step.sources[3]);
  for_lanes(mask, [=](uint32_t lane) {
    const uint32_t p = position[lane] & 255, n = count[lane] & 255;
    const T ones = n >= Bits<T>::kWidth ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << n) - 1);
    const T field = Bits<T>::shl(ones, p);
    d[lane] = static_cast<T>((b[lane] & ~field) | (Bits<T>::shl(a[lane], p) & field));
  });
}

/// Any boolean function of three words: option is its truth table.
void logic_of_three(Warp& warp, const Step& step, uint32_t mask) {
  uint32_t* d = warp.lanes<uint32_t>(step.destination);
  const uint32_t *a = warp.lanes<uint32_t>(step.sources[0]), *b = warp.lanes<uint32_t>(step.sources[1]),
                 *c = warp.lanes<uint32_t>(step.sources[2]);
  const uint32_t table = step.option;
  for_lanes(mask, [=](uint32_t lane) {
    uint32_t result = 0;
    for (uint32_t row = 0; row < 8; ++row) {
      const uint32_t is_row = ((row & 4) != 0 ? a[lane] : ~a[lane]) & ((row & 2) != 0 ? b[lane] : ~b[lane]) &
                              ((row & 1) != 0 ? c[lane] : ~c[lane]);
      result |= (table >> row & 1) != 0 ? is_row : 0;
    }
    d[lane] = result;
  });
}

template <auto F>
void predicate_logic(Warp& warp, const Step& step, uint32_t mask) {
  warp.set_predicate(step.destination, F(warp.predicate(step.sources[0]), warp.predicate(step.sources[1])),
                     mask);
}

uint32_t not_first(uint32_t a, uint32_t) { return ~a; }

void decode_predicate_logic(Form& form) {
  using B = Bits<uint32_t>;
  form.expect_operands(form.opcode() == Opcode::not_ ? 2 : 3);
  form.step.destination = form.destination(0, 0);
  form.step.sources[0] = form.source(1, 0);
  form.step.sources[1] = form.source(form.operands() - 1, 0);
  switch (form.opcode()) {
    case Opcode::and_:
      form.step.handler = predicate_logic<B::and_>;
      break;
    case Opcode::or_:
      form.step.handler = predicate_logic<B::or_>;
      break;
    case Opcode::xor_:
      form.step.handler = predicate_logic<B::xor_>;
      break;
    default:
      form.step.handler = predicate_logic<not_first>;
      break;
  }
}

void decode_logic(Form& form) {
  const uint32_t bytes = ptx::bytes_of(form.type());
  visit_bits(bytes, [&]<class T> {
    using B = Bits<T>;
    if (form.opcode() == Opcode::not_) {
      form.place(bytes, {bytes});
      form.step.handler = unary<B::not_, T, T>;
      return;
    }
    form.place(bytes, {bytes, bytes});
    form.step.handler = form.opcode() == Opcode::and_  ? binary<B::and_, T, T>
                        : form.opcode() == Opcode::or_ ? binary<B::or_, T, T>
                                                       : binary<B::xor_, T, T>;
  });
}

template <auto F, class T>
void shift(Warp& warp, const Step& step, uint32_t mask) {
  T* d = warp.lanes<T>(step.destination);
  const T* a = warp.lanes<T>(step.sources[0]);
  const uint32_t* count = warp.lanes<uint32_t>(step.sources[1]);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = F(a[lane], count[lane]); });
}

void decode_shift(Form& form) {
  const uint32_t bytes = ptx::bytes_of(form.type());
  visit_integer(form.type(), [&]<class T> {
    form.place(bytes, {bytes, 4});
    form.step.handler = form.opcode() == Opcode::shl ? shift<Bits<T>::shl, T> : shift<Bits<T>::shr, T>;
  });
}

void decode_funnel_shift(Form& form) {
  form.place(4, {4, 4, 4});
  const bool is_left = form.take(Modifier::left);
  if (!is_left && !form.take(Modifier::right)) form.fail("shf needs .l or .r");
  const bool wraps = form.take(Modifier::wrap);
  if (!wraps && !form.take(Modifier::clamp)) form.fail("shf needs .wrap or .clamp");
  using U = uint32_t;
  form.step.handler = is_left ? (wraps ? ternary<shf_l_wrap, U, U> : ternary<shf_l_clamp, U, U>)
                              : (wraps ? ternary<shf_r_wrap, U, U> : ternary<shf_r_clamp, U, U>);
}

void decode_count(Form& form) {
  const uint32_t bytes = ptx::bytes_of(form.type());
  const Opcode opcode = form.opcode();
  form.place(opcode == Opcode::brev ? bytes : 4, {bytes});
  visit_integer(form.type(), [&]<class T> {
    using U = std::make_unsigned_t<T>;
    if (opcode == Opcode::popc) form.step.handler = unary<Bits<U>::popc, uint32_t, U>;
    if (opcode == Opcode::clz) form.step.handler = unary<Bits<U>::clz, uint32_t, U>;
    if (opcode == Opcode::brev) form.step.handler = unary<Bits<U>::brev, U, U>;
    if (opcode == Opcode::bfind) {
      form.step.handler = form.take(Modifier::shiftamt) ? unary<Bits<T>::bfind_shift, uint32_t, T>
                                                        : unary<Bits<T>::bfind, uint32_t, T>;
    }
  });
}

template <class T>
void extract_bits(Warp& warp, const Step& step, uint32_t mask) {
  T* d = warp.lanes<T>(step.destination);
  const T* a = warp.lanes<T>(step.sources[0]);
  const uint32_t *position = warp.lanes<uint32_t>(step.sources[1]),
                 *count = warp.lanes<uint32_t>(step.sources[2]);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = Bits<T>::bfe(a[lane], position[lane], count[lane]); });
}

void decode_field(Form& form) {
  const uint32_t bytes = ptx::bytes_of(form.type());
  if (form.opcode() == Opcode::bfi) {
    form.place(bytes, {bytes, bytes, 4, 4});
    form.step.handler = bytes == 8 ? insert_bits<uint64_t> : insert_bits<uint32_t>;
    return;
  }
  form.place(bytes, {bytes, 4, 4});
  visit_integer(form.type(), [&]<class T> { form.step.handler = extract_bits<T>; });
}

void decode_lop3(Form& form) {
  form.expect_operands(5);
  form.step.destination = form.destination(0, 4);
  for (size_t index = 0; index < 3; ++index) form.step.sources[index] = form.source(index + 1, 4);
  if (form.operand(4).kind != ptx::Operand::Kind::immediate)
    form.fail("the truth table must be an immediate");
  form.step.option = static_cast<uint32_t>(form.operand(4).value);
  form.step.handler = logic_of_three;
}

}  // namespace

bool decode_bits(Form& form) {
  switch (form.opcode()) {
    case Opcode::and_:
    case Opcode::or_:
    case Opcode::xor_:
    case Opcode::not_:
      form.type() == Type::pred ? decode_predicate_logic(form) : decode_logic(form);
      break;
    case Opcode::shl:
    case Opcode::shr:
      decode_shift(form);
      break;
    case Opcode::shf:
      decode_funnel_shift(form);
      break;
    case Opcode::popc:
    case Opcode::clz:
    case Opcode::brev:
    case Opcode::bfind:
      decode_count(form);
      break;
    case Opcode::bfe:
    case Opcode::bfi:
      decode_field(form);
      break;
    case Opcode::lop3:
      decode_lop3(form);
      break;
    case Opcode::prmt:
      form.place(4, {4, 4, 4});
      form.step.handler = ternary<prmt, uint32_t, uint32_t>;
      break;
    default:
      return false;
  }
  return form.step.handler != nullptr;
}

}  // namespace simulated_gpu
