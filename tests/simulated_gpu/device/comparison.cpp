// setp, set and selp.  PTX ISA 9.0, section 9.7.6.

#include <utility>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"
#include "tests/simulated_gpu/device/number.h"
#include "tests/simulated_gpu/device/types.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Type;

enum class Relation : uint8_t { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };

constexpr std::pair<Modifier, Relation> kRelations[] = {
    {Modifier::eq, Relation::eq},   {Modifier::ne, Relation::ne},   {Modifier::lt, Relation::lt},
    {Modifier::le, Relation::le},   {Modifier::gt, Relation::gt},   {Modifier::ge, Relation::ge},
    {Modifier::lo, Relation::lt},   {Modifier::ls, Relation::le},   {Modifier::hi, Relation::gt},
    {Modifier::hs, Relation::ge},   {Modifier::equ, Relation::equ}, {Modifier::neu, Relation::neu},
    {Modifier::ltu, Relation::ltu}, {Modifier::leu, Relation::leu}, {Modifier::gtu, Relation::gtu},
    {Modifier::geu, Relation::geu}, {Modifier::num, Relation::num}, {Modifier::nan, Relation::nan},
};

/// The ordered relations are false for NaN, those that end in u are true.
template <Relation relation, class T>
bool holds(T a, T b) {
  const bool is_unordered = a != a || b != b;
  switch (relation) {
    case Relation::eq:
      return a == b;
    case Relation::ne:
      return !is_unordered && a != b;
    case Relation::lt:
      return a < b;
    case Relation::le:
      return a <= b;
    case Relation::gt:
      return a > b;
    case Relation::ge:
      return a >= b;
    case Relation::equ:
      return is_unordered || a == b;
    case Relation::neu:
      return is_unordered || a != b;
    case Relation::ltu:
      return !(a >= b);
    case Relation::leu:
      return !(a > b);
    case Relation::gtu:
      return !(a <= b);
    case Relation::geu:
      return !(a < b);
    case Relation::num:
      return !is_unordered;
    case Relation::nan:
      return is_unordered;
  }
}

/// How a register is read as a value that can be compared.
template <class T>
struct Plain {
  using Lane = T;
  static T value(T lane) { return lane; }
};
struct Flushed {
  using Lane = float;
  static float value(float lane) { return flush(lane); }
};
struct Bf16 {
  using Lane = uint16_t;
  static float value(uint16_t lane) { return bf16_value(lane); }
};
struct F16 {
  using Lane = uint16_t;
  static double value(uint16_t lane) { return decode(lane, kF16); }
};

/// Step::option: what is done with the third source, a predicate, and how the result is written.
enum Option : uint32_t { kAnd = 1, kOr = 2, kXor = 3, kCombination = 3, kNumber = 4 };

uint32_t combine(uint32_t option, uint32_t bits, uint32_t other) {
  switch (option & kCombination) {
    case kAnd:
      return bits & other;
    case kOr:
      return bits | other;
    case kXor:
      return bits ^ other;
    default:
      return bits;
  }
}

template <Relation relation, class Read>
uint32_t compare(const Warp& warp, const Step& step) {
  const auto* a = warp.lanes<typename Read::Lane>(step.sources[0]);
  const auto* b = warp.lanes<typename Read::Lane>(step.sources[1]);
  return lanes_where(
      [=](uint32_t lane) { return holds<relation>(Read::value(a[lane]), Read::value(b[lane])); });
}

template <Relation relation, class Read>
void set_predicates(Warp& warp, const Step& step, uint32_t mask) {
  const uint32_t bits = compare<relation, Read>(warp, step);
  const uint32_t other = (step.option & kCombination) != 0 ? warp.predicate(step.sources[2]) : 0;
  warp.set_predicate(step.paired, combine(step.option, ~bits, other), mask);
  warp.set_predicate(step.destination, combine(step.option, bits, other), mask);
}

/// set: 32 bits, all ones or 1.0 where the relation holds, otherwise 0.
template <Relation relation, class Read>
void set_words(Warp& warp, const Step& step, uint32_t mask) {
  uint32_t bits = compare<relation, Read>(warp, step);
  if ((step.option & kCombination) != 0) bits = combine(step.option, bits, warp.predicate(step.sources[2]));
  uint32_t* d = warp.lanes<uint32_t>(step.destination);
  const uint32_t yes = (step.option & kNumber) != 0 ? bits_as<uint32_t>(1.0f) : ~0u;
  for_lanes(mask, [=](uint32_t lane) { d[lane] = (bits >> lane & 1) != 0 ? yes : 0; });
}

template <class Read, size_t... relation>
Handler choose(Relation wanted, bool writes_predicate, std::index_sequence<relation...>) {
  static constexpr Handler predicates[] = {set_predicates<static_cast<Relation>(relation), Read>...};
  static constexpr Handler words[] = {set_words<static_cast<Relation>(relation), Read>...};
  return (writes_predicate ? predicates : words)[static_cast<size_t>(wanted)];
}

Handler find_handler(Form& form, Type type, Relation relation, bool writes_predicate) {
  constexpr auto all = std::make_index_sequence<14>();
  Handler handler = nullptr;
  if (type == Type::f32) {
    handler = form.take(Modifier::ftz) ? choose<Flushed>(relation, writes_predicate, all)
                                       : choose<Plain<float>>(relation, writes_predicate, all);
  } else if (type == Type::f64) {
    handler = choose<Plain<double>>(relation, writes_predicate, all);
  } else if (type == Type::bf16) {
    handler = choose<Bf16>(relation, writes_predicate, all);
  } else if (type == Type::f16) {
    handler = choose<F16>(relation, writes_predicate, all);
  } else {
    visit_integer(type, [&]<class T> { handler = choose<Plain<T>>(relation, writes_predicate, all); });
  }
  return handler;
}

Relation take_relation(Form& form) {
  for (const auto& [modifier, relation] : kRelations) {
    if (form.take(modifier)) return relation;
  }
  form.fail("a comparison without a relation");
}

void decode_comparison_of(Form& form, Type type, bool writes_predicate) {
  const Relation relation = take_relation(form);
  form.expect_operands(3, 4);
  const uint32_t bytes = ptx::bytes_of(type);
  form.step.sources[0] = form.source(1, bytes);
  form.step.sources[1] = form.source(2, bytes);
  if (form.operands() == 4) {
    form.step.sources[2] = form.source(3, 0);
    const Modifier combination =
        form.take_one_of({Modifier::and_, Modifier::or_, Modifier::xor_}, Modifier::count);
    if (combination == Modifier::count) form.fail("a predicate to combine with, but no .and, .or or .xor");
    form.step.option = combination == Modifier::and_ ? kAnd : combination == Modifier::or_ ? kOr : kXor;
  }
  form.step.handler = find_handler(form, type, relation, writes_predicate);
}

template <class T>
void select(Warp& warp, const Step& step, uint32_t mask) {
  T* d = warp.lanes<T>(step.destination);
  const T *a = warp.lanes<T>(step.sources[0]), *b = warp.lanes<T>(step.sources[1]);
  const uint32_t first = warp.predicate(step.sources[2]);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = (first >> lane & 1) != 0 ? a[lane] : b[lane]; });
}

}  // namespace

bool decode_comparison(Form& form) {
  if (form.opcode() == Opcode::setp) {
    form.step.destination = form.destination(0, 0);
    form.step.paired = form.paired_destination(0);
    decode_comparison_of(form, form.type(), true);
  } else if (form.opcode() == Opcode::set) {
    form.step.destination = form.destination(0, 4);
    if (ptx::bytes_of(form.type(0)) != 4) return false;
    decode_comparison_of(form, form.type(1), false);
    if (form.type(0) == Type::f32) form.step.option |= kNumber;
  } else if (form.opcode() == Opcode::selp) {
    const uint32_t bytes = ptx::bytes_of(form.type());
    form.place(bytes, {bytes, bytes, 0});
    visit_bits(bytes, [&]<class T> { form.step.handler = select<T>; });
  } else {
    return false;
  }
  return form.step.handler != nullptr;
}

}  // namespace simulated_gpu
