// Extended-precision integers: add.cc, addc, sub.cc, subc, mad.cc, madc.  The carry bit is a register of the
// thread that only these instructions see; here it is one predicate per warp.  PTX ISA 9.0, section 9.7.2.

#include <type_traits>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/types.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;

/// Step::option.
enum Option : uint32_t {
  kReadsCarry = 1,
  kWritesCarry = 2,
  kSubtracts = 4,
  kMultiplies = 8,
  kHighHalf = 16,
  kSigned = 32
};

/// U is unsigned.  Subtraction keeps the borrow in the carry bit.
template <class U>
void add_with_carry(Warp& warp, const Step& step, uint32_t mask) {
  U* d = warp.lanes<U>(step.destination);
  const U *a = warp.lanes<U>(step.sources[0]), *b = warp.lanes<U>(step.sources[1]),
          *c = warp.lanes<U>(step.sources[2]);
  const uint32_t option = step.option;
  const uint32_t carry_in = (option & kReadsCarry) != 0 ? warp.carry : 0;
  uint32_t carry_out = 0;
  for_lanes_in_turn(mask, [&](uint32_t lane) {
    using Signed = std::make_signed_t<U>;
    using Product = std::conditional_t<sizeof(U) == 8, unsigned __int128, uint64_t>;
    using SignedProduct = std::conditional_t<sizeof(U) == 8, __int128, int64_t>;
    U x = a[lane], y = b[lane];
    if ((option & kMultiplies) != 0) {
      const Product product =
          (option & kSigned) != 0
              ? static_cast<Product>(SignedProduct{static_cast<Signed>(x)} * static_cast<Signed>(y))
              : Product{x} * y;
      x = static_cast<U>((option & kHighHalf) != 0 ? product >> (8 * sizeof(U)) : product);
      y = c[lane];
    }
    const bool in = (carry_in >> lane & 1) != 0;
    U sum, result;
    bool out;
    if ((option & kSubtracts) != 0) {
      out = __builtin_sub_overflow(x, y, &sum);
      out |= __builtin_sub_overflow(sum, static_cast<U>(in), &result);
    } else {
      out = __builtin_add_overflow(x, y, &sum);
      out |= __builtin_add_overflow(sum, static_cast<U>(in), &result);
    }
    d[lane] = result;
    carry_out |= static_cast<uint32_t>(out) << lane;
  });
  if ((option & kWritesCarry) != 0) warp.carry = (warp.carry & ~mask) | carry_out;
}

}  // namespace

bool decode_carry(Form& form) {
  const Opcode opcode = form.opcode();
  const bool reads = opcode == Opcode::addc || opcode == Opcode::subc || opcode == Opcode::madc;
  const bool multiplies = opcode == Opcode::mad || opcode == Opcode::madc;
  const bool subtracts = opcode == Opcode::sub || opcode == Opcode::subc;
  if (!reads && !multiplies && !subtracts && opcode != Opcode::add) return false;
  const bool writes = form.instruction().has(Modifier::cc);
  if (!reads && !writes) return false;
  form.take(Modifier::cc);
  form.step.option = (reads ? kReadsCarry : 0u) | (writes ? kWritesCarry : 0u) |
                     (subtracts ? kSubtracts : 0u) | (multiplies ? kMultiplies : 0u) |
                     (is_signed(form.type()) ? kSigned : 0u);
  if (multiplies) {
    const Modifier half = form.take_one_of({Modifier::lo, Modifier::hi}, Modifier::count);
    if (half == Modifier::count) return false;
    if (half == Modifier::hi) form.step.option |= kHighHalf;
  }
  const uint32_t bytes = ptx::bytes_of(form.type());
  if (multiplies) {
    form.place(bytes, {bytes, bytes, bytes});
  } else {
    form.place(bytes, {bytes, bytes});
    form.step.sources[2] = form.step.sources[1];  // not used, but read
  }
  form.step.handler = bytes == 8 ? add_with_carry<uint64_t> : add_with_carry<uint32_t>;
  return bytes >= 4;
}

}  // namespace simulated_gpu
