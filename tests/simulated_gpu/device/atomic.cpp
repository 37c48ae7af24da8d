// atom and red.  Lanes take their turns in order of their number.  PTX ISA 9.0, section 9.7.13.

#include <algorithm>
#include <type_traits>

#include "tests/simulated_gpu/device/access.h"
#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/number.h"
#include "tests/simulated_gpu/device/types.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Operand;
using ptx::Space;
using ptx::Type;

/// New value from the old one, the operand and, for cas, the second operand.
template <class T>
struct Update {
  static T add(T old, T b, T) {
    if constexpr (std::is_integral_v<T>) {
      using U = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<U>(old) + static_cast<U>(b));
    } else {
      return canonical(old + b);
    }
  }
  static T exch(T, T b, T) { return b; }
  static T cas(T old, T compare, T value) { return old == compare ? value : old; }
  static T min(T old, T b, T) { return std::min(old, b); }
  static T max(T old, T b, T) { return std::max(old, b); }
  static T and_(T old, T b, T) { return old & b; }
  static T or_(T old, T b, T) { return old | b; }
  static T xor_(T old, T b, T) { return old ^ b; }
  static T inc(T old, T b, T) { return old >= b ? 0 : old + 1; }
  static T dec(T old, T b, T) { return old == 0 || old > b ? b : old - 1; }
};

template <bool is_bf16>
uint32_t add_halves(uint32_t old, uint32_t b, uint32_t) {
  constexpr Format format = is_bf16 ? kBf16 : kF16;
  const auto part = [&](int shift) {
    const double sum = add_to_odd(decode(old >> shift & 0xffff, format), decode(b >> shift & 0xffff, format));
    return encode(sum, format, Rounding::nearest) << shift;
  };
  return part(0) | part(16);
}

/// Sources: address, operand, second operand.
template <auto F, class T>
void update(Warp& warp, const Step& step, uint32_t mask) {
  T* d = warp.lanes<T>(step.destination);
  const T *b = warp.lanes<T>(step.sources[1]), *c = warp.lanes<T>(step.sources[2]);
  const uint32_t allowed = access_memory(warp, step, 0, AccessKind::atomic, mask, sizeof(T),
                                         [&](const View& view, const Addresses& addresses, uint32_t lanes) {
                                           for (; lanes != 0; lanes &= lanes - 1) {
                                             const auto lane = static_cast<uint32_t>(__builtin_ctz(lanes));
                                             std::byte* place = view.at(lane, addresses[lane]);
                                             T old;
                                             std::memcpy(&old, place, sizeof old);
                                             const T value = F(old, b[lane], c[lane]);
                                             std::memcpy(place, &value, sizeof value);
                                             d[lane] = old;
                                           }
                                         });
  for_lanes(mask & ~allowed, [=](uint32_t lane) { std::memset(d + lane, kPoison, sizeof(T)); });
}

template <class T>
Handler find_update(Modifier operation) {
  using U = Update<T>;
  if (operation == Modifier::add) return update<U::add, T>;
  if constexpr (std::is_integral_v<T>) {
    switch (operation) {
      case Modifier::min:
        return update<U::min, T>;
      case Modifier::max:
        return update<U::max, T>;
      case Modifier::exch:
        return update<U::exch, T>;
      case Modifier::cas:
        return update<U::cas, T>;
      case Modifier::and_:
        return update<U::and_, T>;
      case Modifier::or_:
        return update<U::or_, T>;
      case Modifier::xor_:
        return update<U::xor_, T>;
      default:
        break;
    }
    if constexpr (std::is_same_v<T, uint32_t>) {
      if (operation == Modifier::inc) return update<U::inc, T>;
      if (operation == Modifier::dec) return update<U::dec, T>;
    }
  }
  return nullptr;
}

Handler find_handler(Form& form, Modifier operation) {
  switch (form.type()) {
    case Type::f32:
      return find_update<float>(operation);
    case Type::f64:
      return find_update<double>(operation);
    case Type::f16x2:
    case Type::bf16x2:
      if (operation != Modifier::add || !form.take(Modifier::noftz)) return nullptr;
      return form.type() == Type::bf16x2 ? update<add_halves<true>, uint32_t>
                                         : update<add_halves<false>, uint32_t>;
    case Type::u16:
    case Type::s16:
      return nullptr;
    default:
      break;
  }
  Handler handler = nullptr;
  visit_integer(form.type(), [&]<class T> { handler = find_update<T>(operation); });
  return handler;
}

}  // namespace

bool decode_atomic(Form& form) {
  const bool is_reduction = form.opcode() == Opcode::red;
  if (form.opcode() != Opcode::atom && !is_reduction) return false;
  using M = Modifier;
  const Space space = take_space(form);
  form.ignore({M::relaxed, M::acquire, M::release, M::acq_rel, M::cta, M::cluster, M::gpu, M::sys});
  const M operation = form.take_one_of(
      {M::add, M::min, M::max, M::exch, M::cas, M::and_, M::or_, M::xor_, M::inc, M::dec}, M::count);
  const size_t address = is_reduction ? 0 : 1;
  const size_t operands = operation == M::cas ? 2 : 1;
  form.expect_operands(address + 1 + operands);
  const uint32_t bytes = ptx::bytes_of(form.type());
  if (form.address(address, 0, space) == 4) form.step.option |= kNarrowAddress;
  form.step.sources[1] = form.source(address + 1, bytes);
  form.step.sources[2] = form.source(address + operands, bytes);
  // A reduction returns nothing: its old value goes to the scratch place, which is 0.
  if (!is_reduction) form.step.destination = form.destination(0, bytes);
  form.step.handler = find_handler(form, operation);
  return form.step.handler != nullptr;
}

}  // namespace simulated_gpu
