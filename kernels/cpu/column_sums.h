#pragma once
// Sums over the rows of a matrix, such as the gradient of a norm's weight, without dependence on the threads.

#include "kernels/cpu/parallel_for.h"
#include "runtime/tensor.h"

namespace tessera::kernels::cpu {

/// Fills sums [cols] with the sum over rows that add_rows(partial, begin, end) adds to partial [cols], row after row.
/// Blocks of rows start from zero and are added in their order; their size depends on cols alone.
template <class AddRows>
void column_sums(Stream stream, int64_t rows, int64_t cols, float* sums, const AddRows& add_rows) {
  // A block's own work should exceed that of adding its partial sums.
  constexpr int64_t kLeastRows = 32;
  const int64_t block_rows = std::max(kLeastRows, task_rows(cols));
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  const Tensor partials = Tensor::empty({blocks, cols}, DType::f32, stream);
  float* const partial = partials.data<float>();
  parallel_for(stream, rows, block_rows, [&](int64_t begin, int64_t end) {
    float* const mine = partial + begin / block_rows * cols;
    std::fill_n(mine, cols, 0.0f);
    add_rows(mine, begin, end);
  });
  parallel_for(stream, cols, task_rows(blocks), [&](int64_t begin, int64_t end) {
    std::fill(sums + begin, sums + end, 0.0f);
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t col = begin; col < end; ++col) sums[col] += partial[block * cols + col];
  });
}

}  // namespace tessera::kernels::cpu
