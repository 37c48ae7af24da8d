#pragma once
// Rows to expert slots and back.  Slot s holds a copy of row index[s]; the slots of row r are
// slots[offsets[r] .. offsets[r + 1]), in increasing order (which is expert order); a row may have none or several.
//
//   gather             y[s] = x[index[s]]
//   store_rows         y[index[s]] = x[s]; the other rows of y stay as they are
//   combine            y[r] = sum over slots s of row r, in order, of gates[s] x[s]; added in f32, rounded once
//   combine_backward   dx[s] = gates[s] dy[index[s]],   dgates[s] = dy[index[s]] . x[s]
//   pick               y[s] = x[index[s], c(s)] for single elements, c(s) the column with columns[c] <= s < columns[c + 1]
//   pick_backward      dx = 0, then dx[index[s], c(s)] = dy[s]
//   invert             offsets and slots from index
//
// Row tensors [rows or slots, width] f32 or bf16, x and y alike; gates, dgates [slots] f32; gates and dgates may be
// empty handles: then gates are 1.  index, slots [slots] i32, offsets [rows + 1] i32.
// pick: x, dx [rows, cols] f32, y, dy [slots] f32; columns: cols + 1 slot numbers from 0 to slots, not decreasing, host;
// an index occurs once per column.
// store_rows: the numbers of index are distinct, which a GPU does not check.
// Throws Error on a shape or dtype mismatch and on an index out of range; on a GPU the stream throws it later (README.md).

#include <span>

#include "runtime/tensor.h"

namespace tessera::kernels {

template <Backend B>
void gather(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream);
template <Backend B>
void store_rows(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream);
template <Backend B>
void invert(const Tensor& index, const Tensor& offsets, const Tensor& slots, Stream stream);
template <Backend B>
void pick(const Tensor& x, const Tensor& index, std::span<const int64_t> columns, const Tensor& y,
          Stream stream);
template <Backend B>
void pick_backward(const Tensor& dy, const Tensor& index, std::span<const int64_t> columns, const Tensor& dx,
                   Stream stream);

void gather(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream);
void store_rows(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream);
void invert(const Tensor& index, const Tensor& offsets, const Tensor& slots, Stream stream);
void pick(const Tensor& x, const Tensor& index, std::span<const int64_t> columns, const Tensor& y,
          Stream stream);
void pick_backward(const Tensor& dy, const Tensor& index, std::span<const int64_t> columns, const Tensor& dx,
                   Stream stream);

/// Where the slots of each row are.
struct RowSlots {
  Tensor offsets, slots;
};
template <Backend B>
void combine(const Tensor& x, const Tensor& gates, const RowSlots& of_row, const Tensor& y, Stream stream);
void combine(const Tensor& x, const Tensor& gates, const RowSlots& of_row, const Tensor& y, Stream stream);

/// What forward read, and where the gradients go.
struct CombineBackward {
  Tensor x, gates, index, dy;
  Tensor dx, dgates;
};
template <Backend B>
void combine_backward(const CombineBackward& tensors, Stream stream);
void combine_backward(const CombineBackward& tensors, Stream stream);

}  // namespace tessera::kernels
