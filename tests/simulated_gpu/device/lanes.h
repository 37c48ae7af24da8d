#pragma once
// Loops over the lanes of a warp, written so that the compiler makes vector code of a full warp.

#include <cstdint>
#include <cstring>

#include "tests/simulated_gpu/device/warp.h"

namespace simulated_gpu {

/// operation(lane) for every lane in mask, one after the other.
template <class Operation>
inline void for_lanes_in_turn(uint32_t mask, Operation operation) {
  for (; mask != 0; mask &= mask - 1) operation(static_cast<uint32_t>(__builtin_ctz(mask)));
}

/// The same, all at once as far as anyone can tell: the operation may write nothing but elements of its own
/// lane.
template <class Operation>
inline void for_lanes(uint32_t mask, Operation operation) {
  if (mask == kAllLanes) {
#pragma GCC ivdep
    for (uint32_t lane = 0; lane < 32; ++lane) operation(lane);
  } else {
    for_lanes_in_turn(mask, operation);
  }
}

/// d = F(a), d = F(a, b), d = F(a, b, c) for functions on one lane; D is the type of the result, S of the
/// operands.
template <auto F, class D, class S>
void unary(Warp& warp, const Step& step, uint32_t mask) {
  D* d = warp.lanes<D>(step.destination);
  const S* a = warp.lanes<S>(step.sources[0]);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = F(a[lane]); });
}

template <auto F, class D, class S>
void binary(Warp& warp, const Step& step, uint32_t mask) {
  D* d = warp.lanes<D>(step.destination);
  const S* a = warp.lanes<S>(step.sources[0]);
  const S* b = warp.lanes<S>(step.sources[1]);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = F(a[lane], b[lane]); });
}

template <auto F, class D, class S, class C = D>
void ternary(Warp& warp, const Step& step, uint32_t mask) {
  D* d = warp.lanes<D>(step.destination);
  const S* a = warp.lanes<S>(step.sources[0]);
  const S* b = warp.lanes<S>(step.sources[1]);
  const C* c = warp.lanes<C>(step.sources[2]);
  for_lanes(mask, [=](uint32_t lane) { d[lane] = F(a[lane], b[lane], c[lane]); });
}

/// The mask of the lanes for which condition(lane) holds.
template <class Condition>
inline uint32_t lanes_where(Condition condition) {
  uint32_t bits = 0;
  for (uint32_t lane = 0; lane < 32; ++lane) bits |= static_cast<uint32_t>(condition(lane)) << lane;
  return bits;
}

template <class To, class From>
inline To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

}  // namespace simulated_gpu
