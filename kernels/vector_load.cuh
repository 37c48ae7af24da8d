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
struct WordsOf<4> {
  using Type = uint32_t;
};
template <>
struct WordsOf<8> {
  using Type = uint2;
};
template <>
struct WordsOf<16> {
  using Type = uint4;
};

/// N elements by one instruction, or by one for each 16 bytes; from must be aligned to what one takes.
template <int N, class T>
__device__ void load_vector(const T* from, float (&to)[N]) {
  constexpr int kMost = kVectorElements<T>;
  if constexpr (N > kMost) {
#pragma unroll
    for (int first = 0; first < N; first += kMost) {
      float some[kMost];
      load_vector(from + first, some);
#pragma unroll
      for (int n = 0; n < kMost; ++n) to[first + n] = some[n];
    }
  } else {
    using Words = typename WordsOf<N * sizeof(T)>::Type;
    const auto elements = std::bit_cast<std::array<T, N>>(*reinterpret_cast<const Words*>(from));
#pragma unroll
    for (int n = 0; n < N; ++n) to[n] = static_cast<float>(elements[n]);
  }
}

/// The reverse, rounding to T.
template <int N, class T>
__device__ void store_vector(T* to, const float (&from)[N]) {
  using Words = typename WordsOf<N * sizeof(T)>::Type;
  std::array<T, N> elements;
#pragma unroll
  for (int n = 0; n < N; ++n) elements[n] = static_cast<T>(from[n]);
  *reinterpret_cast<Words*>(to) = std::bit_cast<Words>(elements);
}

/// Elements [0, count) of the N at from, one by one; those beyond are 0, and are not read.
template <int N, class T>
__device__ void load_some(const T* from, int64_t count, float (&to)[N]) {
#pragma unroll
  for (int n = 0; n < N; ++n) to[n] = n < count ? static_cast<float>(from[n]) : 0.0f;
}

/// The reverse; elements beyond are not written.
template <int N, class T>
__device__ void store_some(T* to, int64_t count, const float (&from)[N]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
    if (n < count) to[n] = static_cast<T>(from[n]);
}

/// load_some; with kVectors, for which from must be aligned to N elements, all N come by one instruction if
/// they can.
template <bool kVectors, int N, class T>
__device__ void load(const T* from, int64_t count, float (&to)[N]) {
  if constexpr (kVectors)
    if (count >= N) return load_vector(from, to);
  load_some(from, count, to);
}
template <bool kVectors, int N, class T>
__device__ void store(T* to, int64_t count, const float (&from)[N]) {
  if constexpr (kVectors)
    if (count >= N) return store_vector(to, from);
  store_some(to, count, from);
}

}  // namespace tessera::kernels
