#pragma once
// Several neighbouring elements in one memory access, as f32.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "runtime/dtype.h"

namespace tessera::kernels {

/// Elements per thread for which the widest of the types takes 16 bytes, the most that one instruction moves.
template <class... T>
inline constexpr int kVectorElements = 16 / static_cast<int>(std::max({sizeof(T)...}));

/// True when vectors may start at all of these addresses; null counts as such.
template <class... T>
bool aligned_for_vectors(const T*... address) {
  return ((reinterpret_cast<uintptr_t>(address) % 16 == 0) && ...);
}

template <int kBytes>
struct WordsOf;
template <>
struct WordsOf<8> {
  using Type = uint2;
};
template <>
struct WordsOf<16> {
  using Type = uint4;
};

/// Elements [0, count) of the N at from; those beyond are 0, and are not read.  With kVectors all N, where they are within
/// count, come by one instruction: from must then be aligned to N elements.
template <bool kVectors, int N, class T>
__device__ void load(const T* from, int64_t count, float (&to)[N]) {
  if constexpr (kVectors) {
    using Words = typename WordsOf<N * sizeof(T)>::Type;
    if (count >= N) {
      const auto elements = std::bit_cast<std::array<T, N>>(*reinterpret_cast<const Words*>(from));
#pragma unroll
      for (int n = 0; n < N; ++n) to[n] = static_cast<float>(elements[n]);
      return;
    }
  }
#pragma unroll
  for (int n = 0; n < N; ++n) to[n] = n < count ? static_cast<float>(from[n]) : 0.0f;
}

/// The reverse: rounds to T and writes elements [0, count).
template <bool kVectors, int N, class T>
__device__ void store(T* to, int64_t count, const float (&from)[N]) {
  if constexpr (kVectors) {
    using Words = typename WordsOf<N * sizeof(T)>::Type;
    if (count >= N) {
      std::array<T, N> elements;
#pragma unroll
      for (int n = 0; n < N; ++n) elements[n] = static_cast<T>(from[n]);
      *reinterpret_cast<Words*>(to) = std::bit_cast<Words>(elements);
      return;
    }
  }
#pragma unroll
  for (int n = 0; n < N; ++n)
    if (n < count) to[n] = static_cast<T>(from[n]);
}

}  // namespace tessera::kernels
