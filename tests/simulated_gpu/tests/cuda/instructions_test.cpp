// Each instruction that kernels name in inline PTX, alone, against the formula of the PTX manual.
#include "tests/simulated_gpu/tests/cuda/instructions_test.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "runtime/dtype.h"

namespace simulated_gpu {
namespace {

using tessera::bf16;

uint32_t two_bf16(float low, float high) { return bf16(low).bits | uint32_t{bf16(high).bits} << 16; }

/// Small integers, which bf16 and sums in f32 hold exactly.
struct Matrices {
  float a[16][16], b[16][8], c[16][8];

  explicit Matrices(uint32_t seed) {
    std::mt19937 random(seed);
    const auto fill = [&](auto& matrix) {
      for (auto& row : matrix)
        for (float& value : row) value = static_cast<float>(static_cast<int>(random() % 41) - 20);
    };
    fill(a), fill(b), fill(c);
  }
};

// PTX manual, "Matrix Fragments for mma.m16n8k16 with floating point type": element i of a lane's fragment.
int row_of_a(int lane, int i) { return (i < 2 || (i >= 4 && i < 6)) ? lane >> 2 : (lane >> 2) + 8; }
int column_of_a(int lane, int i) { return i < 4 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8; }
int row_of_b(int lane, int i) { return i < 2 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8; }
int column_of_b(int lane, int) { return lane >> 2; }
int row_of_c(int lane, int i) { return i < 2 ? lane >> 2 : (lane >> 2) + 8; }
int column_of_c(int lane, int i) { return lane % 4 * 2 + (i & 1); }

TEST(Instructions, MmaIsTheProductOfTheFragments) {
  for (const uint32_t seed : {1u, 2u, 3u}) {
    const Matrices m(seed);
    MmaRegisters in{};
    for (int lane = 0; lane < 32; ++lane) {
      const auto a = [&](int i) { return m.a[row_of_a(lane, i)][column_of_a(lane, i)]; };
      const auto b = [&](int i) { return m.b[row_of_b(lane, i)][column_of_b(lane, i)]; };
      for (int r = 0; r < 4; ++r) in.a[lane][r] = two_bf16(a(2 * r), a(2 * r + 1));
      for (int r = 0; r < 2; ++r) in.b[lane][r] = two_bf16(b(2 * r), b(2 * r + 1));
      for (int i = 0; i < 4; ++i) in.d[lane][i] = m.c[row_of_c(lane, i)][column_of_c(lane, i)];
    }
    const ByLane<float, 4> out = run_mma_16x8x16(in);
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        const int row = row_of_c(lane, i), column = column_of_c(lane, i);
        float expected = m.c[row][column];
        for (int k = 0; k < 16; ++k) expected += m.a[row][k] * m.b[k][column];
        EXPECT_EQ(out[lane][i], expected) << "row " << row << ", column " << column;
      }
  }
}

/// 32 rows of eight elements, each value its own index, at multiples of 16 bytes that are not in order.
struct RowsInMemory {
  std::vector<uint16_t> memory;
  std::array<int, 32> rows;

  RowsInMemory() : memory(1024) {
    for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<uint16_t>(i);
    for (int lane = 0; lane < 32; ++lane) rows[lane] = (lane * 37 + 5) % 128 * 8;
  }
  /// Element of matrix i: its row r is where lane 8 i + r points.
  uint32_t at(int matrix, int row, int column) const { return memory[rows[8 * matrix + row] + column]; }
};

TEST(Instructions, LoadMatricesGivesPairsOfARow) {
  const RowsInMemory in;
  const ByLane<uint32_t, 4> out = run_load_matrices(in.memory, in.rows);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4, column = lane % 4 * 2;
      EXPECT_EQ(out[lane][i], in.at(i, row, column) | in.at(i, row, column + 1) << 16)
          << "lane " << lane << ", register " << i;
    }
}

TEST(Instructions, LoadMatricesTransposedGivesPairsOfAColumn) {
  const RowsInMemory in;
  const ByLane<uint32_t, 4> out = run_load_matrices_transposed(in.memory, in.rows);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane % 4 * 2, column = lane / 4;
      EXPECT_EQ(out[lane][i], in.at(i, row, column) | in.at(i, row + 1, column) << 16)
          << "lane " << lane << ", register " << i;
    }
}

TEST(Instructions, PackRoundsToNearestEvenLowFirst) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float bits_up = std::bit_cast<float>(0x3f818001u), tie_even = std::bit_cast<float>(0x3f808000u);
  const float tie_odd = std::bit_cast<float>(0x3f818000u), bits_down = std::bit_cast<float>(0x3f807fffu);
  const std::vector<float> values = {0.0f,
                                     -0.0f,
                                     1.0f,
                                     -1.5f,
                                     bits_up,
                                     tie_even,
                                     tie_odd,
                                     bits_down,
                                     3e38f,
                                     infinity,
                                     -infinity,
                                     1e-40f,
                                     -3e-39f,
                                     65280.0f,
                                     1e-20f,
                                     -7.7f,
                                     std::numeric_limits<float>::max(),
                                     std::numeric_limits<float>::denorm_min()};
  std::array<float, 32> low, high;
  for (size_t lane = 0; lane < 32; ++lane) {
    low[lane] = values[lane % values.size()];
    high[lane] = values[(lane * 5 + 3) % values.size()];
  }
  const std::array<uint32_t, 32> out = run_pack_bf16(low, high);
  for (size_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(out[lane], two_bf16(low[lane], high[lane])) << "lane " << lane;
}

TEST(Instructions, PackKeepsNaN) {
  std::array<float, 32> low, high;
  low.fill(std::numeric_limits<float>::quiet_NaN()), high.fill(2);
  for (const uint32_t word : run_pack_bf16(low, high)) {
    EXPECT_TRUE(std::isnan(float(std::bit_cast<bf16>(static_cast<uint16_t>(word)))));
    EXPECT_EQ(word >> 16, bf16(2.0f).bits);
  }
}

template <int N>
void expect_copies(ByLane<uint8_t, N> (*run)(const ByLane<uint8_t, N>&, const std::array<int, 32>&),
                   const std::array<int, 32>& counts) {
  ByLane<uint8_t, N> from;
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < N; ++i) from[lane][i] = static_cast<uint8_t>(1 + (lane * N + i) % 199);
  const ByLane<uint8_t, N> out = run(from, counts);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < N; ++i)
      EXPECT_EQ(out[lane][i], i < counts[lane] ? from[lane][i] : 0)
          << "lane " << lane << ", byte " << i << " of " << counts[lane];
}

TEST(Instructions, CopyFillsTheRestWithZeros) {
  std::array<int, 32> counts;
  for (int lane = 0; lane < 32; ++lane) counts[lane] = lane % 17;
  expect_copies<16>(run_copy_16_async, counts);
  for (int lane = 0; lane < 32; ++lane) counts[lane] = lane % 3 == 0 ? 0 : 4;
  expect_copies<4>(run_copy_4_async, counts);
}

}  // namespace
}  // namespace simulated_gpu
