#pragma once
// From types of PTX to types of C++.

#include <cstdint>

#include "tests/simulated_gpu/ptx/words.h"

namespace simulated_gpu {

/// Calls visit.template operator()<T>() with the integer type; false when the type is no integer of 16 to 64
/// bits.  Bits count as unsigned.
template <class Visit>
bool visit_integer(ptx::Type type, Visit visit) {
  using ptx::Type;
  switch (type) {
    case Type::u16:
    case Type::b16:
      visit.template operator()<uint16_t>();
      return true;
    case Type::s16:
      visit.template operator()<int16_t>();
      return true;
    case Type::u32:
    case Type::b32:
      visit.template operator()<uint32_t>();
      return true;
    case Type::s32:
      visit.template operator()<int32_t>();
      return true;
    case Type::u64:
    case Type::b64:
      visit.template operator()<uint64_t>();
      return true;
    case Type::s64:
      visit.template operator()<int64_t>();
      return true;
    default:
      return false;
  }
}

/// The same for values of 2, 4 or 8 bytes as unsigned integers.
template <class Visit>
bool visit_bits(uint32_t bytes, Visit visit) {
  switch (bytes) {
    case 2:
      visit.template operator()<uint16_t>();
      return true;
    case 4:
      visit.template operator()<uint32_t>();
      return true;
    case 8:
      visit.template operator()<uint64_t>();
      return true;
    default:
      return false;
  }
}

constexpr bool is_signed(ptx::Type type) {
  using ptx::Type;
  return type == Type::s8 || type == Type::s16 || type == Type::s32 || type == Type::s64;
}

constexpr bool is_integer(ptx::Type type) {
  using ptx::Type;
  return is_signed(type) || type == Type::u8 || type == Type::u16 || type == Type::u32 || type == Type::u64;
}

}  // namespace simulated_gpu
