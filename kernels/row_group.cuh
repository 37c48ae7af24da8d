#pragma once
// Rows of a matrix in registers: a group of threads holds one row, a block has several groups, and a thread
// keeps the same columns through all rows that it meets.

#include <algorithm>
#include <bit>

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {

inline constexpr int kRowThreads = 256;  ///< of a block
inline constexpr int kRowElements = 16;  ///< per thread: two rows and two sums of them fit into 128 registers
inline constexpr int64_t kMostRowCols = int64_t{kRowThreads} * kRowElements;
/// Blocks that take the rows in turns: three for each of 128 multiprocessors; more would read the weights
/// more often.
inline constexpr int64_t kRowBlocks = 384;

/// How many threads hold a row: a power of two.
template <class T>
int row_group_threads(int64_t cols) {
  constexpr int64_t kLine = 128 / 16;  // threads that share a line of memory
  const int64_t vectors = (cols + kVectorElements<T> - 1) / kVectorElements<T>;
  const int64_t needed = (cols + kRowElements - 1) / kRowElements;
  return static_cast<int>(std::bit_ceil(static_cast<uint64_t>(std::max(needed, std::min(vectors, kLine)))));
}

/// Blocks of so many threads that cover the rows, at most the given number.
inline unsigned row_blocks(int64_t rows, int group, int threads, int64_t most) {
  const int64_t at_once = threads / group;
  return static_cast<unsigned>(std::min(most, (rows + at_once - 1) / at_once));
}

/// A thread's place in its group.  Vector k of the thread is vector k threads + member of the row.
struct RowGroup {
  int threads, cols;

  __device__ int member() const { return threadIdx.x & (threads - 1); }
  __device__ int64_t rows_at_once() const { return blockDim.x / threads; }
  __device__ int64_t first_row() const { return blockIdx.x * rows_at_once() + threadIdx.x / threads; }
  __device__ int64_t stride() const { return gridDim.x * rows_at_once(); }
  /// Passes over the rows, the same for all threads of the block, so that they may meet at barriers.
  __device__ int64_t passes(int64_t rows) const {
    return (rows - blockIdx.x * rows_at_once() + stride() - 1) / stride();
  }
};

/// Vector k of the thread; 0 beyond the columns and, when the row is not there, everywhere.  kVectors: rows
/// begin at addresses for vectors and consist of whole ones.
template <bool kVectors, int N, class T>
__device__ void load_row_vector(const RowGroup& group, const T* row, bool present, int k, float (&to)[N]) {
  const int col = (k * group.threads + group.member()) * N;
  const int count = present ? group.cols - col : 0;
  if (kVectors && count > 0)
    load_vector(row + col, to);
  else
    load_some(row + col, kVectors ? 0 : count, to);
}
template <bool kVectors, class T>
__device__ void store_row_vector(const RowGroup& group, T* row, bool present, int k,
                                 const float (&from)[kVectorElements<T>]) {
  const int col = (k * group.threads + group.member()) * kVectorElements<T>;
  const int count = present ? group.cols - col : 0;
  if (kVectors && count > 0)
    store_vector(row + col, from);
  else
    store_some(row + col, kVectors ? 0 : count, from);
}

/// All vectors of the thread, one after the other.
template <bool kVectors, class T>
__device__ void load_row(const RowGroup& group, const T* row, bool present, float (&to)[kRowElements]) {
  constexpr int N = kVectorElements<T>;
#pragma unroll
  for (int k = 0; k < kRowElements / N; ++k) {
    float vector[N];
    load_row_vector<kVectors>(group, row, present, k, vector);
#pragma unroll
    for (int n = 0; n < N; ++n) to[k * N + n] = vector[n];
  }
}

/// Columns with room for whole vectors, so that another row may follow in shared memory.
template <class T>
__host__ __device__ int padded_cols(int64_t cols) {
  constexpr int N = kVectorElements<T>;
  return static_cast<int>((cols + N - 1) / N * N);
}

/// Whether one of the thread's elements lies within the columns.
template <class T>
__device__ bool within_row(const RowGroup& group, int element) {
  constexpr int N = kVectorElements<T>;
  return (element / N * group.threads + group.member()) * N + element % N < group.cols;
}

/// Copies a value for each column, such as a weight, to shared memory.  A barrier must follow.
template <class T>
__device__ void share_row(const RowGroup& group, const T* row, T* shared) {
  for (int col = threadIdx.x; col < group.cols; col += blockDim.x) shared[col] = row[col];
}

}  // namespace tessera::kernels
