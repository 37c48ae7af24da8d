#pragma once
// Element types.  Arithmetic is in f32; bf16 is a storage type.

#include <bit>
#include <cstdint>
#include <ostream>

#include "runtime/error.h"

namespace tessera {

enum class DType : uint8_t { f32, bf16, i32, u8 };

/// The upper half of an f32, rounded to nearest even; NaN stays NaN.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  constexpr explicit bf16(float value) {
    const uint32_t word = std::bit_cast<uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((word >> 16) | 0x40u);
    } else {
      bits = static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
    }
  }
  constexpr explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
  friend bool operator==(bf16, bf16) = default;  ///< of bits
};

template <class T>
inline constexpr DType dtype_of = [] { static_assert(sizeof(T) == 0, "not a tensor element"); }();
template <>
inline constexpr DType dtype_of<float> = DType::f32;
template <>
inline constexpr DType dtype_of<bf16> = DType::bf16;
template <>
inline constexpr DType dtype_of<int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<uint8_t> = DType::u8;

inline int64_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::u8:
      return 1;
  }
  throw Error("dtype: unknown");
}

inline const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::i32:
      return "i32";
    case DType::u8:
      return "u8";
  }
  throw Error("dtype: unknown");
}
inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name_of(dtype); }

inline bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

/// Calls body.template operator()<T>() with the C++ type of a float dtype; throws Error for others.
template <class Body>
decltype(auto) visit_float(DType dtype, Body&& body) {
  TESSERA_CHECK(is_float(dtype), "expected f32 or bf16, got ", dtype);
  if (dtype == DType::f32) return body.template operator()<float>();
  return body.template operator()<bf16>();
}

/// The same with any dtype.
template <class Body>
decltype(auto) visit_any(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::bf16:
      return body.template operator()<bf16>();
    case DType::i32:
      return body.template operator()<int32_t>();
    case DType::u8:
      return body.template operator()<uint8_t>();
  }
  throw Error("dtype: unknown");
}

}  // namespace tessera
