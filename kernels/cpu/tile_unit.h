#pragma once
// Matrix units of AMX: eight tile registers of 16 rows of 64 bytes, and their product of bf16 pairs.  AmxUnit is the processor's;
// PlainUnit computes the same bits in memory, for tests of kernels on processors without one.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS.

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace tessera::kernels::cpu {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileBytes = 64;              ///< of a row
constexpr int64_t kTilePairs = kTileBytes / 4;  ///< of bf16 in a row, or values of f32
constexpr int64_t kTileTerms = 2 * kTilePairs;  ///< of a product's sums

constexpr int64_t kAmxSide = 2 * kTileRows;  ///< rows and columns of a block of sums: four registers
constexpr int64_t kAmxStepBytes = kAmxSide * kTileBytes;  ///< of an operand of a block, for 32 terms
constexpr int64_t kAmxBlockBytes = kAmxSide * kAmxSide * int64_t{sizeof(float)};

/// Functions of a unit, by numbers of registers:
///   zero<t>()             every value of t is 0
///   load<t>(from, stride) row i of t is the 64 bytes at from + i * stride
///   store<t>(to, stride)  and back
///   multiply<c, a, b>()   c[i][n] (f32) += (sum over q of a[i][q].first b[q][n].first) + (the same of .second): each sum one chain of
///                         fused multiply-adds from 0 in order of q; pairs of bf16; subnormals are taken for zero and become zero
/// A thread uses them between the construction and the destruction of an object of the unit.
class AmxUnit {
 public:
  AmxUnit() {
    struct alignas(64) Configuration {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } configuration;
    for (int tile = 0; tile < 8; ++tile) {
      configuration.row_bytes[tile] = kTileBytes;
      configuration.rows[tile] = kTileRows;
    }
    asm volatile("ldtilecfg %0" : : "m"(configuration));
  }
  ~AmxUnit() { asm volatile("tilerelease"); }
  AmxUnit(const AmxUnit&) = delete;
  AmxUnit& operator=(const AmxUnit&) = delete;

  // "memory" also keeps the compiler from moving stores of what is loaded past the load.
  template <int kTile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  static void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kSum, int kA, int kB>
  static void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
  }
};

class PlainUnit {
 public:
  PlainUnit() = default;
  PlainUnit(const PlainUnit&) = delete;
  PlainUnit& operator=(const PlainUnit&) = delete;

  template <int kTile>
  static void zero() {
    tile(kTile) = {};
  }
  template <int kTile>
  static void load(const void* from, int64_t stride) {
    for (int64_t i = 0; i < kTileRows; ++i)
      std::memcpy(&tile(kTile)[static_cast<size_t>(i * kTilePairs)],
                  static_cast<const char*>(from) + i * stride, kTileBytes);
  }
  template <int kTile>
  static void store(void* to, int64_t stride) {
    for (int64_t i = 0; i < kTileRows; ++i)
      std::memcpy(static_cast<char*>(to) + i * stride, &tile(kTile)[static_cast<size_t>(i * kTilePairs)],
                  kTileBytes);
  }
  template <int kSum, int kA, int kB>
  static void multiply() {
    for (size_t i = 0; i < kTileRows; ++i) {
      float first[kTilePairs] = {}, second[kTilePairs] = {};
      for (size_t q = 0; q < kTilePairs; ++q) {
        const uint32_t a = tile(kA)[i * kTilePairs + q];
        const uint32_t* const b = &tile(kB)[q * kTilePairs];
        for (size_t n = 0; n < kTilePairs; ++n) {
          first[n] = normal(__builtin_fmaf(value(a << 16), value(b[n] << 16), first[n]));
          second[n] = normal(__builtin_fmaf(value(a & 0xffff0000), value(b[n] & 0xffff0000), second[n]));
        }
      }
      for (size_t n = 0; n < kTilePairs; ++n) {
        uint32_t& sum = tile(kSum)[i * kTilePairs + n];
        sum = std::bit_cast<uint32_t>(normal(value(sum) + normal(first[n] + second[n])));
      }
    }
  }

 private:
  using Tile = std::array<uint32_t, kTileRows * kTilePairs>;

  static Tile& tile(int index) {
    thread_local std::array<Tile, 8> tiles;
    return tiles[static_cast<size_t>(index)];
  }
  /// a, or zero with its sign where it is subnormal.
  static float normal(float a) { return value(std::bit_cast<uint32_t>(a)); }
  static float value(uint32_t bits) {
    return std::bit_cast<float>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
  }
};

}  // namespace tessera::kernels::cpu
