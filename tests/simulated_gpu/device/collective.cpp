// Instructions that the lanes of a mask execute together: shfl, vote, redux, match, bar.warp.  The scheduler
// calls these handlers with all lanes of the mask at once.  PTX ISA 9.0, sections 9.7.9 and 9.7.13.

#include <algorithm>

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/lanes.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Type;

enum class Shuffle : uint32_t { idx, up, down, bfly };

struct ShuffleSource {
  uint32_t lane;
  bool is_in_range;
};

/// c holds the clamp in bits 0 to 4 and the mask that splits the warp into segments in bits 8 to 12.
ShuffleSource shuffle_source(Shuffle mode, uint32_t lane, uint32_t b, uint32_t c) {
  const uint32_t segment = c >> 8 & 31, clamp = c & 31;
  b &= 31;
  const auto first = static_cast<int>(lane & segment),
             bound = static_cast<int>((lane & segment) | (clamp & ~segment));
  const auto self = static_cast<int>(lane);
  int from = self;
  bool is_in_range = false;
  switch (mode) {
    case Shuffle::up:
      from = self - static_cast<int>(b);
      is_in_range = from >= bound;
      break;
    case Shuffle::down:
      from = self + static_cast<int>(b);
      is_in_range = from <= bound;
      break;
    case Shuffle::bfly:
      from = self ^ static_cast<int>(b);
      is_in_range = from <= bound;
      break;
    case Shuffle::idx:
      from = first | static_cast<int>(b & ~segment);
      is_in_range = from <= bound;
      break;
  }
  return {static_cast<uint32_t>(is_in_range ? from : self), is_in_range};
}

/// sources: value, b, c; option: the mode.
void shuffle(Warp& warp, const Step& step, uint32_t mask) {
  const uint32_t *a = warp.lanes<uint32_t>(step.sources[0]), *b = warp.lanes<uint32_t>(step.sources[1]),
                 *c = warp.lanes<uint32_t>(step.sources[2]);
  const auto mode = static_cast<Shuffle>(step.option);
  uint32_t results[32] = {}, in_range = 0, lost = 0;
  for_lanes_in_turn(mask, [&](uint32_t lane) {
    const ShuffleSource source = shuffle_source(mode, lane, b[lane], c[lane]);
    in_range |= static_cast<uint32_t>(source.is_in_range) << lane;
    if ((mask >> source.lane & 1) != 0) {
      results[lane] = a[source.lane];
    } else {
      std::memset(results + lane, kPoison, sizeof(uint32_t));
      lost |= 1u << lane;
    }
  });
  if (lost != 0) {
    warp.block->observer.violates(*step.instruction, "shuffle", "reads a lane that does not take part",
                                  warp.index, lost);
  }
  uint32_t* d = warp.lanes<uint32_t>(step.destination);
  for_lanes(mask, [&](uint32_t lane) { d[lane] = results[lane]; });
  warp.set_predicate(step.paired, in_range, mask);
}

void vote_ballot(Warp& warp, const Step& step, uint32_t mask) {
  const uint32_t bits = warp.predicate(step.sources[0]) & mask;
  uint32_t* d = warp.lanes<uint32_t>(step.destination);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = bits; });
}

template <Modifier mode>
void vote(Warp& warp, const Step& step, uint32_t mask) {
  const uint32_t bits = warp.predicate(step.sources[0]) & mask;
  const bool all = bits == mask, none = bits == 0;
  const bool result = mode == Modifier::all ? all : mode == Modifier::any ? !none : all || none;
  warp.set_predicate(step.destination, result ? ~0u : 0, mask);
}

template <class T, auto F>
void reduce(Warp& warp, const Step& step, uint32_t mask) {
  const T* a = warp.lanes<T>(step.sources[0]);
  uint32_t rest = mask;
  T result = a[__builtin_ctz(rest)];
  for (rest &= rest - 1; rest != 0; rest &= rest - 1) result = F(result, a[__builtin_ctz(rest)]);
  T* d = warp.lanes<T>(step.destination);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = result; });
}

uint32_t sum(uint32_t a, uint32_t b) { return a + b; }
uint32_t both(uint32_t a, uint32_t b) { return a & b; }
uint32_t either(uint32_t a, uint32_t b) { return a | b; }
uint32_t differ(uint32_t a, uint32_t b) { return a ^ b; }
template <class T>
T lesser(T a, T b) {
  return std::min(a, b);
}
template <class T>
T greater(T a, T b) {
  return std::max(a, b);
}

template <class T>
void match_any(Warp& warp, const Step& step, uint32_t mask) {
  const T* a = warp.lanes<T>(step.sources[0]);
  uint32_t results[32] = {};
  for_lanes(mask, [&](uint32_t lane) {
    results[lane] = mask & lanes_where([&](uint32_t l) { return a[l] == a[lane]; });
  });
  uint32_t* d = warp.lanes<uint32_t>(step.destination);
  for_lanes(mask, [&](uint32_t lane) { d[lane] = results[lane]; });
}

template <class T>
void match_all(Warp& warp, const Step& step, uint32_t mask) {
  const T* a = warp.lanes<T>(step.sources[0]);
  const T first = a[__builtin_ctz(mask)];
  const bool all = (mask & ~lanes_where([&](uint32_t lane) { return a[lane] == first; })) == 0;
  uint32_t* d = warp.lanes<uint32_t>(step.destination);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = all ? mask : 0; });
  warp.set_predicate(step.paired, all ? ~0u : 0, mask);
}

void synchronise_warp(Warp& warp, const Step&, uint32_t mask) {
  warp.block->observer.warp_synchronises(warp.index, mask);
}

void active_lanes(Warp& warp, const Step& step, uint32_t mask) {
  uint32_t* d = warp.lanes<uint32_t>(step.destination);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = mask; });
}

/// The operand that names the lanes takes the last place.
void take_mask(Form& form, size_t operand) {
  form.step.flow = Flow::collective;
  form.step.mask_source = 3;
  form.step.sources[3] = form.source(operand, 4);
  if (!form.take(Modifier::sync)) form.fail("the forms without .sync are not supported");
}

void decode_shuffle(Form& form) {
  form.expect_operands(5);
  form.step.destination = form.destination(0, 4);
  form.step.paired = form.paired_destination(0);
  for (size_t index = 0; index < 3; ++index) form.step.sources[index] = form.source(index + 1, 4);
  take_mask(form, 4);
  Shuffle mode = Shuffle::idx;
  switch (form.take_one_of({Modifier::idx, Modifier::up, Modifier::down, Modifier::bfly}, Modifier::count)) {
    case Modifier::idx:
      break;
    case Modifier::up:
      mode = Shuffle::up;
      break;
    case Modifier::down:
      mode = Shuffle::down;
      break;
    case Modifier::bfly:
      mode = Shuffle::bfly;
      break;
    default:
      form.fail("a shuffle without a mode");
  }
  form.step.option = static_cast<uint32_t>(mode);
  form.step.handler = shuffle;
}

void decode_vote(Form& form) {
  form.expect_operands(3);
  form.step.sources[0] = form.source(1, 0);
  take_mask(form, 2);
  const Modifier mode =
      form.take_one_of({Modifier::ballot, Modifier::all, Modifier::any, Modifier::uni}, Modifier::count);
  form.step.destination = form.destination(0, mode == Modifier::ballot ? 4 : 0);
  if (mode == Modifier::ballot) form.step.handler = vote_ballot;
  if (mode == Modifier::all) form.step.handler = vote<Modifier::all>;
  if (mode == Modifier::any) form.step.handler = vote<Modifier::any>;
  if (mode == Modifier::uni) form.step.handler = vote<Modifier::uni>;
}

void decode_reduction(Form& form) {
  form.expect_operands(3);
  form.step.destination = form.destination(0, 4);
  form.step.sources[0] = form.source(1, 4);
  take_mask(form, 2);
  using M = Modifier;
  using U = uint32_t;
  const bool is_signed = form.type() == Type::s32;
  if (!is_signed && form.type() != Type::u32 && form.type() != Type::b32) return;
  switch (form.take_one_of({M::add, M::min, M::max, M::and_, M::or_, M::xor_}, M::count)) {
    case M::add:
      form.step.handler = reduce<U, sum>;
      break;
    case M::min:
      form.step.handler = is_signed ? reduce<int32_t, lesser<int32_t>> : reduce<U, lesser<U>>;
      break;
    case M::max:
      form.step.handler = is_signed ? reduce<int32_t, greater<int32_t>> : reduce<U, greater<U>>;
      break;
    case M::and_:
      form.step.handler = reduce<U, both>;
      break;
    case M::or_:
      form.step.handler = reduce<U, either>;
      break;
    case M::xor_:
      form.step.handler = reduce<U, differ>;
      break;
    default:
      break;
  }
}

void decode_match(Form& form) {
  form.expect_operands(3);
  const uint32_t bytes = ptx::bytes_of(form.type());
  form.step.destination = form.destination(0, 4);
  form.step.paired = form.paired_destination(0);
  form.step.sources[0] = form.source(1, bytes);
  take_mask(form, 2);
  const bool all = form.take(Modifier::all);
  if (!all && !form.take(Modifier::any)) return;
  if (bytes == 4) form.step.handler = all ? match_all<uint32_t> : match_any<uint32_t>;
  if (bytes == 8) form.step.handler = all ? match_all<uint64_t> : match_any<uint64_t>;
}

}  // namespace

bool decode_collective(Form& form) {
  switch (form.opcode()) {
    case Opcode::shfl:
      decode_shuffle(form);
      break;
    case Opcode::vote:
      decode_vote(form);
      break;
    case Opcode::redux:
      decode_reduction(form);
      break;
    case Opcode::match:
      decode_match(form);
      break;
    case Opcode::activemask:
      form.place(4, {});
      form.step.handler = active_lanes;
      break;
    case Opcode::bar:
      if (!form.take(Modifier::warp)) return false;
      form.expect_operands(1);
      take_mask(form, 0);
      form.step.handler = synchronise_warp;
      break;
    default:
      return false;
  }
  return form.step.handler != nullptr;
}

}  // namespace simulated_gpu
