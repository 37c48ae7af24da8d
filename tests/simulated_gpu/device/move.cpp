// mov: copies, packs and unpacks registers; reads clocks.  PTX ISA 9.0, section 9.7.9.

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/types.h"

namespace simulated_gpu {
namespace {

using ptx::Operand;
using ptx::Special;
using ptx::Type;

template <class T>
T same(T value) {
  return value;
}

void move_predicate(Warp& warp, const Step& step, uint32_t mask) {
  warp.set_predicate(step.destination, warp.predicate(step.sources[0]), mask);
}

/// d = {a, b, ...}, the first element lowest.
template <class Whole, class Part>
void pack(Warp& warp, const Step& step, uint32_t mask) {
  Whole* d = warp.lanes<Whole>(step.destination);
  for_lanes(mask, [&](uint32_t lane) {
    Whole value = 0;
    for (size_t index = 0; index < step.elements.size(); ++index) {
      const Part part = warp.lanes<Part>(step.elements[index])[lane];
      value = static_cast<Whole>(value |
                                 static_cast<Whole>(static_cast<Whole>(part) << (8 * sizeof(Part) * index)));
    }
    d[lane] = value;
  });
}

template <class Whole, class Part>
void unpack(Warp& warp, const Step& step, uint32_t mask) {
  for_lanes(mask, [&](uint32_t lane) {
    const Whole value = warp.lanes<Whole>(step.sources[0])[lane];
    for (size_t index = 0; index < step.elements.size(); ++index) {
      Part* d = warp.lanes<Part>(step.elements[index].offset);
      d[lane] = static_cast<Part>(value >> (8 * sizeof(Part) * index));
    }
  });
}

/// Warp instructions executed so far stand for time: it goes on, and runs repeat.
template <class T>
void read_clock(Warp& warp, const Step& step, uint32_t mask) {
  T* d = warp.lanes<T>(step.destination);
  const T now = static_cast<T>(warp.block->clock);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = now; });
}

template <template <class, class> class Choice>
void choose(Form& form, uint32_t whole, uint32_t part) {
  if (whole == 4 && part == 2) form.step.handler = Choice<uint32_t, uint16_t>::handler;
  if (whole == 8 && part == 4) form.step.handler = Choice<uint64_t, uint32_t>::handler;
  if (whole == 8 && part == 2) form.step.handler = Choice<uint64_t, uint16_t>::handler;
  if (form.step.handler == nullptr) form.fail("vectors of this size cannot be moved");
}
template <class Whole, class Part>
struct Pack {
  static constexpr Handler handler = pack<Whole, Part>;
};
template <class Whole, class Part>
struct Unpack {
  static constexpr Handler handler = unpack<Whole, Part>;
};

void decode_vector(Form& form, uint32_t bytes) {
  const bool packs = form.operand(1).kind == Operand::Kind::vector;
  const Operand& vector = form.operand(packs ? 1 : 0);
  const auto part = bytes / static_cast<uint32_t>(vector.elements.size());
  for (const Operand& element : vector.elements) {
    uint32_t ignored = 0;
    Source place;
    if (packs) {
      place = form.source(element, part);
    } else {
      place.offset = element.kind == Operand::Kind::sink ? form.wide_destination(element, Type::b8, ignored)
                                                         : form.source(element, part).offset;
    }
    form.step.elements.push_back(place);
  }
  if (packs) {
    form.step.destination = form.destination(0, bytes);
    choose<Pack>(form, bytes, part);
  } else {
    form.step.sources[0] = form.source(1, bytes);
    choose<Unpack>(form, bytes, part);
  }
}

bool is_clock(const Operand& operand) {
  return operand.kind == Operand::Kind::special &&
         (operand.special == Special::clock || operand.special == Special::clock64 ||
          operand.special == Special::globaltimer);
}

}  // namespace

bool decode_move(Form& form) {
  if (form.opcode() != ptx::Opcode::mov) return false;
  form.expect_operands(2);
  const uint32_t bytes = ptx::bytes_of(form.type());
  if (form.type() == Type::pred) {
    form.place(0, {0});
    form.step.handler = move_predicate;
  } else if (form.operand(0).kind == Operand::Kind::vector || form.operand(1).kind == Operand::Kind::vector) {
    decode_vector(form, bytes);
  } else if (is_clock(form.operand(1))) {
    form.step.destination = form.destination(0, bytes);
    form.step.handler = bytes == 8 ? read_clock<uint64_t> : read_clock<uint32_t>;
  } else {
    form.place(bytes, {bytes});
    visit_bits(bytes, [&]<class T> { form.step.handler = unary<same<T>, T, T>; });
  }
  return form.step.handler != nullptr;
}

}  // namespace simulated_gpu
