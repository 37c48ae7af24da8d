#pragma once
// Who touched a byte, in 32 bits: a flag, a number of 25 bits and a lane of 6.
//
// Numbers grow as the program runs and are never given twice.  While a launch runs, a number stands for one
// context: an instruction of a warp between two synchronisations.  Later it stands for the operation to which
// it was given.  So "before this launch", "in this block" and "before the last barrier" are comparisons, and
// nothing has to be cleared when they change.

#include <cstdint>

namespace simulated_gpu {

using Accessor = uint32_t;  ///< 0: nobody

inline constexpr uint32_t kLaneBits = 6;
inline constexpr uint32_t kSeveralLanes = 32;  ///< in place of a lane: more than one lane of the context
inline constexpr uint32_t kNumbers = uint32_t{1} << (31 - kLaneBits);
/// Of a writer: its asynchronous copy has not been waited for.  Such an accessor is greater than all others.
inline constexpr Accessor kInFlight = uint32_t{1} << 31;

inline constexpr Accessor accessor(uint32_t number, uint32_t lane = 0) { return number << kLaneBits | lane; }
inline constexpr uint32_t number_of(Accessor accessor) { return (accessor & ~kInFlight) >> kLaneBits; }
inline constexpr uint32_t lane_of(Accessor accessor) { return accessor & ((1u << kLaneBits) - 1); }

}  // namespace simulated_gpu
