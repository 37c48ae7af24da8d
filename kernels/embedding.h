#pragma once
// Rows of a table by id.
//
//   y[r] = table[ids[r]]          dtable[i] = sum of dy[r] over rows r with ids[r] = i, in order of r
//
// ids [rows] i32 in [0, vocab)   table [vocab, width], y, dy [rows, width]  f32 or bf16, table and y alike
// dtable [vocab, width] f32; overwritten, zero for ids that do not occur
// Throws Error on a shape or dtype mismatch and on an id out of range; on a GPU the stream throws it later (README.md).

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void embedding_forward(const Tensor& ids, const Tensor& table, const Tensor& y, Stream stream);
template <Backend B>
void embedding_backward(const Tensor& ids, const Tensor& dy, const Tensor& dtable, Stream stream);

void embedding_forward(const Tensor& ids, const Tensor& table, const Tensor& y, Stream stream);
void embedding_backward(const Tensor& ids, const Tensor& dy, const Tensor& dtable, Stream stream);

}  // namespace tessera::kernels
