// ld, st and prefetch, of all spaces, vectors and widths.  PTX ISA 9.0, section 9.7.9.

#include "tests/simulated_gpu/device/access.h"
#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/types.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Operand;
using ptx::Space;
using ptx::Type;

/// M is the type in memory, R the unsigned type of the register; elements are the registers.
template <class M, class R>
void load(Warp& warp, const Step& step, uint32_t mask) {
  const size_t count = step.elements.size();
  const auto bytes = static_cast<uint32_t>(count * sizeof(M));
  const uint32_t allowed =
      access_memory(warp, step, 0, AccessKind::read, mask, bytes,
                    [&](const View& view, const Addresses& addresses, uint32_t lanes) {
                      for (size_t index = 0; index < count; ++index) {
                        R* d = warp.lanes<R>(step.elements[index].offset);
                        const uint64_t* from = addresses.data();
                        for_lanes(lanes, [=](uint32_t lane) {
                          M value;
                          std::memcpy(&value, view.at(lane, from[lane]) + index * sizeof(M), sizeof value);
                          d[lane] = static_cast<R>(value);
                        });
                      }
                    });
  if (allowed == mask) return;
  for (const Source& element : step.elements) {
    R* d = warp.lanes<R>(element.offset);
    for_lanes(mask & ~allowed, [=](uint32_t lane) { std::memset(d + lane, kPoison, sizeof(R)); });
  }
}

template <class M, class R>
void store(Warp& warp, const Step& step, uint32_t mask) {
  const size_t count = step.elements.size();
  const auto bytes = static_cast<uint32_t>(count * sizeof(M));
  access_memory(warp, step, 0, AccessKind::write, mask, bytes,
                [&](const View& view, const Addresses& addresses, uint32_t lanes) {
                  for (size_t index = 0; index < count; ++index) {
                    const R* a = warp.lanes<R>(step.elements[index]);
                    const uint64_t* to = addresses.data();
                    for_lanes_in_turn(lanes, [=](uint32_t lane) {
                      const M value = static_cast<M>(a[lane]);
                      std::memcpy(view.at(lane, to[lane]) + index * sizeof(M), &value, sizeof value);
                    });
                  }
                });
}

/// Has no effect but must name memory that exists.
void prefetch(Warp& warp, const Step& step, uint32_t mask) {
  Addresses addresses;
  read_addresses(warp, step, 0, mask, addresses);
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<uint32_t>(__builtin_ctz(rest));
    const Space space = step.space == Space::none ? resolve_generic(addresses[lane]) : step.space;
    const View view = view_of(warp, space);
    if (addresses[lane] - view.begin < view.bytes) continue;
    warp.block->observer.violates(*step.instruction, "address", "prefetch of memory that does not exist",
                                  warp.index, 1u << lane);
  }
}

/// visit.operator()<M>() with the type in memory.
template <class Visit>
bool visit_memory_type(Type type, Visit visit) {
  switch (type) {
    case Type::s8:
      visit.template operator()<int8_t>();
      return true;
    case Type::u8:
    case Type::b8:
      visit.template operator()<uint8_t>();
      return true;
    case Type::f16:
    case Type::bf16:
      visit.template operator()<uint16_t>();
      return true;
    case Type::f16x2:
    case Type::bf16x2:
    case Type::f32:
      visit.template operator()<uint32_t>();
      return true;
    case Type::f64:
      visit.template operator()<uint64_t>();
      return true;
    default:
      return visit_integer(type, visit);
  }
}

Handler find_handler(Type type, uint32_t register_bytes, bool is_load) {
  Handler handler = nullptr;
  visit_memory_type(type, [&]<class M> {
    visit_bits(register_bytes, [&]<class R> {
      if constexpr (sizeof(R) >= sizeof(M)) handler = is_load ? load<M, R> : store<M, R>;
    });
  });
  return handler;
}

/// Hints for caches do nothing here; order and volatility neither, since blocks run one after the other and
/// each instruction is done before the next begins.
void ignore_hints(Form& form) {
  using M = Modifier;
  form.ignore({M::volatile_,
               M::weak,
               M::relaxed,
               M::acquire,
               M::release,
               M::cta,
               M::cluster,
               M::gpu,
               M::sys,
               M::nc,
               M::ca,
               M::cg,
               M::cs,
               M::lu,
               M::cv,
               M::wb,
               M::wt,
               M::l1_evict_normal,
               M::l1_evict_unchanged,
               M::l1_evict_first,
               M::l1_evict_last,
               M::l1_no_allocate,
               M::l2_64b,
               M::l2_128b,
               M::l2_256b,
               M::l2_evict_last,
               M::l2_evict_first,
               M::l2_evict_normal});
}

void decode_access(Form& form) {
  const bool is_load = form.opcode() == Opcode::ld;
  form.expect_operands(2);
  const Space space = take_space(form);
  if (form.address(is_load ? 1 : 0, 0, space) == 4) form.step.option |= kNarrowAddress;
  if (!is_load && (form.step.space == Space::constant || form.step.space == Space::parameter)) {
    form.fail("memory of this space is read only");
  }
  const Operand& value = form.operand(is_load ? 0 : 1);
  const Modifier vector = form.take_one_of({Modifier::v2, Modifier::v4, Modifier::v8}, Modifier::count);
  const size_t count = vector == Modifier::v2   ? 2
                       : vector == Modifier::v4 ? 4
                       : vector == Modifier::v8 ? 8
                                                : 1;
  if (count != (value.kind == Operand::Kind::vector ? value.elements.size() : 1))
    form.fail("a vector of another length");
  uint32_t register_bytes = 0;
  for (size_t index = 0; index < count; ++index) {
    const Operand& element = value.kind == Operand::Kind::vector ? value.elements[index] : value;
    uint32_t bytes = 0;
    Source place;
    if (is_load) {
      place.offset = form.wide_destination(element, form.type(), bytes);
    } else {
      // A constant takes the size of the registers beside it; bytes are kept in words of 2.
      place = form.wide_source(element, ptx::bytes_of(form.type()) == 1 ? Type::b16 : form.type(), bytes);
    }
    if (bytes == 1) bytes = 2;  // a sink of a byte
    const bool fits_all =
        register_bytes == 0 || register_bytes == bytes || element.kind == Operand::Kind::sink;
    if (!fits_all) form.fail("registers of different sizes in one vector");
    if (element.kind != Operand::Kind::sink || register_bytes == 0) register_bytes = bytes;
    form.step.elements.push_back(place);
  }
  form.step.handler = find_handler(form.type(), register_bytes, is_load);
  ignore_hints(form);
}

}  // namespace

Space take_space(Form& form) {
  using M = Modifier;
  switch (form.take_one_of(
      {M::global, M::shared, M::shared_cta, M::local, M::constant, M::param, M::param_entry, M::param_func},
      M::count)) {
    case M::global:
      return Space::global;
    case M::shared:
    case M::shared_cta:
      return Space::shared;
    case M::local:
      return Space::local;
    case M::constant:
      return Space::constant;
    case M::param:
    case M::param_entry:
    case M::param_func:
      return Space::parameter;
    default:
      return Space::none;
  }
}

bool decode_memory(Form& form) {
  if (form.opcode() == Opcode::ld || form.opcode() == Opcode::st) {
    decode_access(form);
  } else if (form.opcode() == Opcode::prefetch) {
    form.expect_operands(1);
    const Space space = take_space(form);
    if (form.address(0, 0, space) == 4) form.step.option |= kNarrowAddress;
    form.ignore({Modifier::l1, Modifier::l2, Modifier::l2_evict_last, Modifier::l2_evict_normal});
    form.step.handler = prefetch;
  } else {
    return false;
  }
  return form.step.handler != nullptr;
}

}  // namespace simulated_gpu
