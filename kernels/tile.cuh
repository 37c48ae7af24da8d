#pragma once
// Tiles of bf16 matrices in shared memory: filled from global memory, multiplied on tensor cores, written
// back. The only place that knows how tiles lie in memory and which lane holds what of a product.

#include <cstdint>

#include "kernels/async_copy.cuh"
#include "kernels/mma.cuh"
#include "kernels/reduce.cuh"

namespace tessera::kernels {

/// Rows of a bf16 matrix in global memory, and how many of them and of their elements exist.
template <class T>
struct Rows {
  T* data;
  int64_t stride;  ///< elements from row to row
  int rows, columns;
  bool by_16_bytes;  ///< rows begin at 16-byte boundaries and columns is a multiple of 8
};

/// kRows rows of kColumns elements in shared memory, 16-byte aligned.
///
/// A chunk is 8 elements, 16 bytes: what one asynchronous copy brings and one lane of ldmatrix points to.
/// Eight lanes serve at a time, and meet all 32 banks once when their chunks differ modulo 8.  One chunk of
/// padding per row makes that so for one chunk of eight rows in sequence (ldmatrix).
template <int kRows, int kColumns>
struct Tile {
  static_assert(kColumns == 32 || kColumns % 64 == 0);
  static constexpr int kPitch = kColumns + 8;
  static constexpr int kElements = kRows * kPitch;
  static constexpr int kChunks = kColumns / 8;  ///< of a row, without padding

  bf16* data;

  __device__ bf16* at(int row, int column) const { return data + row * kPitch + column; }
  /// The row of the i-th chunk that threads copy.  Where eight lanes take two rows of four chunks, these are
  /// four rows apart: 4 kPitch elements are 4 chunks modulo 8.
  __device__ static int row_of_copy(int i) {
    const int row = i / kChunks;
    return kChunks == 4 ? row / 8 * 8 + row % 2 * 4 + row % 8 / 2 : row;
  }
};

/// The block's threads fill a tile; zeros where the matrix has no elements.  Done after wait_for_copies() and
/// a barrier.
template <int kThreads, int kRows, int kColumns>
__device__ __forceinline__ void fill_async(Tile<kRows, kColumns> tile, const Rows<const bf16>& from) {
  // Unrolled, the addresses of all chunks would take registers from the products.
  if (from.by_16_bytes) {
#pragma unroll 1
    for (int i = threadIdx.x; i < kRows * tile.kChunks; i += kThreads) {
      const int row = tile.row_of_copy(i), column = i % tile.kChunks * 8;
      const bool exists = row < from.rows && column < from.columns;
      copy_16_async(tile.at(row, column), exists ? from.data + row * from.stride + column : from.data,
                    exists ? 16 : 0);
    }
  } else {
#pragma unroll 1
    for (int i = threadIdx.x; i < kRows * kColumns; i += kThreads) {
      const int row = i / kColumns, column = i % kColumns;
      const bool exists = row < from.rows && column < from.columns;
      *tile.at(row, column) = exists ? from.data[row * from.stride + column] : bf16();
    }
  }
}

/// Where the summed index of a product runs in an operand's tile: along its rows, or from row to row.
enum class Depth { along_rows, across_rows };

/// The left operand's 16 x 16 matrix from its row and summed index on, both multiples of 16.
template <Depth kDepth, class AnyTile>
__device__ __forceinline__ void load_left(Fragment& to, AnyTile tile, int row, int summed) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (kDepth == Depth::along_rows)
    load_matrices(to, tile.at(row + lane % 16, summed + lane / 16 * 8));
  else
    load_matrices_transposed(to, tile.at(summed + lane / 16 * 8 + lane % 8, row + lane / 8 % 2 * 8));
}

/// Two matrices 16 x 8 of the right operand, from its column and summed index on, both multiples of 16.
template <Depth kDepth, class AnyTile>
__device__ __forceinline__ void load_right(Fragment& to, AnyTile tile, int column, int summed) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (kDepth == Depth::along_rows)
    load_matrices(to, tile.at(column + lane / 16 * 8 + lane % 8, summed + lane / 8 % 2 * 8));
  else
    load_matrices_transposed(to, tile.at(summed + lane % 16, column + lane / 16 * 8));
}

/// c[16 kM, 8 kN] += a[16 kM, 16] b[16, 8 kN]: b is what `right` holds from this column and summed index on.
template <Depth kDepth, int kM, int kN, class AnyTile>
__device__ __forceinline__ void multiply_add(Accumulator (&c)[kM][kN], const Fragment (&a)[kM], AnyTile right,
                                             int column, int summed) {
#pragma unroll
  for (int n = 0; n < kN; n += 2) {
    Fragment b;
    load_right<kDepth>(b, right, column + n * 8, summed);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      mma_16x8x16(c[m][n], a[m], b[0], b[1]);
      mma_16x8x16(c[m][n + 1], a[m], b[2], b[3]);
    }
  }
}

/// Two neighbouring results 16 x 8, rounded to bf16, as the left operand of the next product.
__device__ __forceinline__ void pack_left(Fragment& to, const Accumulator& first, const Accumulator& second) {
  to[0] = pack_bf16(first[0], first[1]);
  to[1] = pack_bf16(first[2], first[3]);
  to[2] = pack_bf16(second[0], second[1]);
  to[3] = pack_bf16(second[2], second[3]);
}

/// Puts a warp's result into a tile from this row and column on, rounded: row group of every 16 times upper,
/// group + 8 times lower.
template <int kN, class AnyTile>
__device__ __forceinline__ void put(AnyTile tile, int row, int column, const Accumulator (&c)[kN],
                                    float upper, float lower) {
  const int lane = threadIdx.x % kWarp, group = lane / 4, pair = lane % 4 * 2;
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    auto* const above = reinterpret_cast<uint32_t*>(tile.at(row + group, column + n * 8 + pair));
    auto* const below = reinterpret_cast<uint32_t*>(tile.at(row + group + 8, column + n * 8 + pair));
    *above = pack_bf16(c[n][0] * upper, c[n][1] * upper);
    *below = pack_bf16(c[n][2] * lower, c[n][3] * lower);
  }
}

/// Writes tile rows [first, first + count), count a multiple of 8, to the rows and columns of a matrix that
/// exist.  Shared by `threads` threads, of which this is number `thread`.
template <class AnyTile>
__device__ __forceinline__ void write(AnyTile tile, int first, int count, const Rows<bf16>& to, int thread,
                                      int threads) {
  const int columns = tile.kChunks * 8;
  if (to.by_16_bytes) {
    for (int i = thread; i < count * tile.kChunks; i += threads) {
      const int row = first + tile.row_of_copy(i), column = i % tile.kChunks * 8;
      if (row < to.rows && column < to.columns)
        *reinterpret_cast<uint4*>(to.data + row * to.stride + column) =
            *reinterpret_cast<const uint4*>(tile.at(row, column));
    }
  } else {
    for (int i = thread; i < count * columns; i += threads) {
      const int row = first + i / columns, column = i % columns;
      if (row < to.rows && column < to.columns) to.data[row * to.stride + column] = *tile.at(row, column);
    }
  }
}

}  // namespace tessera::kernels
