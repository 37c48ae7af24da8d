#pragma once
// Rows by number, for the kernels of permute.h and embedding.h.

#include "kernels/permute.h"

namespace tessera::kernels {

/// y[s] = x[index[s]]; x and y of one element type.  An index out of range stops the kernel.
void copy_rows(const char* name, const Tensor& x, const Tensor& index, const Tensor& y, Stream stream);

/// y[index[s]] = x[s]; as copy_rows.
void place_rows(const char* name, const Tensor& x, const Tensor& index, const Tensor& y, Stream stream);

/// y[r] = sum over slots s of row r, in order, of gates[s] x[s], in f32 and rounded once; gates: f32, or null
/// for 1. y f32, or of the element type of x.  Slots out of range stop the kernel.
void sum_rows(const char* name, const Tensor& x, const float* gates, const RowSlots& of_row, const Tensor& y,
              Stream stream);

}  // namespace tessera::kernels
