#include "kernels/matmul.h"

#include <array>
#include <utility>

#include "kernels/backend.h"
#include "kernels/cpu/matmul_tile.h"
#include "runtime/cpu_engine.h"

#define TESSERA_KERNELS "kernels/cpu/matmul.inc"
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

using cpu::Matrix;
using cpu::Product;
using cpu::TileSize;

// Enough tiles a thread that the last one to finish is not long alone; narrower or shorter ones would pack
// too often.
constexpr int64_t kTilesPerThread = 8;
constexpr int64_t kLeastColumns = 128;
constexpr int64_t kLeastRows = 64;

/// product_of(g), g < groups, is the product of one group.
template <class ProductOf>
TileSize tile_size(int64_t groups, const ProductOf& product_of, int threads) {
  TileSize size;
  if (threads == 1) return size;
  for (;;) {
    int64_t tiles = 0;
    for (int64_t g = 0; g < groups; ++g) tiles += size.tiles(product_of(g));
    if (tiles >= kTilesPerThread * threads) return size;
    if (size.columns > kLeastColumns)
      size.columns /= 2;
    else if (size.rows > kLeastRows)
      size.rows /= 2;
    else
      return size;
  }
}

template <class ProductOf>
void multiply(int64_t groups, const ProductOf& product_of, Stream stream) {
  ThreadPool& pool = engine_of(stream).pool;
  const TileSize size = tile_size(groups, product_of, pool.threads());
  const int64_t scratch_floats = size.scratch_floats();
  const Tensor scratch = Tensor::empty({pool.threads(), scratch_floats}, DType::f32, stream);
  auto* const multiply_tile = cpu::select(stream, avx2::multiply_tile, avx512::multiply_tile);
  int64_t tiles = 0;
  for (int64_t g = 0; g < groups; ++g) tiles += size.tiles(product_of(g));
  pool.run(tiles, [&](int64_t index, int worker) {
    int64_t g = 0;
    for (int64_t here; index >= (here = size.tiles(product_of(g))); ++g) index -= here;
    const Product product = product_of(g);
    multiply_tile(product, size.tile(product, index), scratch.data<float>() + worker * scratch_floats);
  });
}

/// Rows [row, ...) of a tensor as a matrix with columns columns.
Matrix rows_from(const Tensor& tensor, int64_t row, int64_t columns, bool transposed = false) {
  char* const data = static_cast<char*>(tensor.bytes_data());
  return {data + row * columns * bytes_of(tensor.dtype()), tensor.dtype(), columns, transposed};
}

void check_rows(const char* who, const char* name, const Tensor& tensor, int64_t rows, int64_t columns) {
  TESSERA_CHECK(tensor.shape() == Shape({rows, columns}), who, ": ", name, " must be ",
                Shape({rows, columns}), ", got ", tensor.shape());
  TESSERA_CHECK(is_float(tensor.dtype()), who, ": ", name, " must be f32 or bf16, got ", tensor.dtype());
}

/// rows is a tensor [rows, columns] that offsets cut into groups; weight is the matrix of each group.
void check_groups(const char* who, const Tensor& rows, const Tensor& weight, RowOffsets offsets) {
  TESSERA_CHECK(rows.shape().rank() == 2, who, ": rows must be [rows, columns], got ", rows.shape());
  TESSERA_CHECK(is_float(weight.dtype()), who, ": the weight must be f32 or bf16, got ", weight.dtype());
  const int rank = weight.shape().rank();
  TESSERA_CHECK(rank == 2 || rank == 3, who, ": the weight must be [out, in] or [groups, out, in], got ",
                weight.shape());
  const int64_t groups = rank == 3 ? weight.shape()[0] : 1;
  TESSERA_CHECK(static_cast<int64_t>(offsets.size()) == groups + 1, who, ": offsets must be ", groups + 1,
                " row numbers, got ", offsets.size());
  TESSERA_CHECK(offsets.front() == 0 && offsets.back() == rows.shape()[0], who,
                ": offsets must go from 0 to ", rows.shape()[0], ", got ", offsets.front(), " to ",
                offsets.back());
  for (size_t g = 0; g + 1 < offsets.size(); ++g)
    TESSERA_CHECK(offsets[g] <= offsets[g + 1], who, ": offsets must not decrease, got ", offsets[g],
                  " before ", offsets[g + 1]);
}

/// Sizes common to the three products, from the weight (or its gradient) and the offsets.
struct Sizes {
  int64_t groups, out, in;

  Sizes(const Tensor& weight, RowOffsets offsets)
      : groups(static_cast<int64_t>(offsets.size()) - 1), out(weight.shape()[-2]), in(weight.shape()[-1]) {}
};

}  // namespace

template <>
void matmul_forward<Backend::cpu>(const Tensor& x, const Tensor& weight, const Tensor& y, RowOffsets offsets,
                                  Stream stream) {
  TraceRange range(engine_of(stream).trace, "matmul_forward");
  const auto [groups, out, in] = Sizes(weight, offsets);
  const auto product_of = [&, out = out, in = in](int64_t g) -> Product {
    const int64_t row = offsets[g], rows = offsets[g + 1] - row;
    return {
        rows, out, in, rows_from(x, row, in), rows_from(weight, g * out, in, true), rows_from(y, row, out)};
  };
  multiply(groups, product_of, stream);
}

template <>
void matmul_backward_input<Backend::cpu>(const Tensor& dy, const Tensor& weight, const Tensor& dx,
                                         RowOffsets offsets, Stream stream) {
  TraceRange range(engine_of(stream).trace, "matmul_backward_input");
  const auto [groups, out, in] = Sizes(weight, offsets);
  const auto product_of = [&, out = out, in = in](int64_t g) -> Product {
    const int64_t row = offsets[g], rows = offsets[g + 1] - row;
    return {rows, in, out, rows_from(dy, row, out), rows_from(weight, g * out, in), rows_from(dx, row, in)};
  };
  multiply(groups, product_of, stream);
}

template <>
void matmul_backward_weight<Backend::cpu>(const Tensor& dy, const Tensor& x, const Tensor& dweight,
                                          RowOffsets offsets, Stream stream) {
  TraceRange range(engine_of(stream).trace, "matmul_backward_weight");
  const auto [groups, out, in] = Sizes(dweight, offsets);
  const auto product_of = [&, out = out, in = in](int64_t g) -> Product {
    const int64_t row = offsets[g], rows = offsets[g + 1] - row;
    return {
        out, in, rows, rows_from(dy, row, out, true), rows_from(x, row, in), rows_from(dweight, g * out, in)};
  };
  multiply(groups, product_of, stream);
}

void matmul_forward(const Tensor& x, const Tensor& weight, const Tensor& y, RowOffsets offsets,
                    Stream stream) {
  check_groups("matmul_forward", x, weight, offsets);
  const int64_t rows = x.shape()[0];
  check_rows("matmul_forward", "x", x, rows, weight.shape()[-1]);
  check_rows("matmul_forward", "y", y, rows, weight.shape()[-2]);
  on_backend(stream, [&]<Backend B>() { matmul_forward<B>(x, weight, y, offsets, stream); });
}

void matmul_backward_input(const Tensor& dy, const Tensor& weight, const Tensor& dx, RowOffsets offsets,
                           Stream stream) {
  check_groups("matmul_backward_input", dy, weight, offsets);
  const int64_t rows = dy.shape()[0];
  check_rows("matmul_backward_input", "dy", dy, rows, weight.shape()[-2]);
  check_rows("matmul_backward_input", "dx", dx, rows, weight.shape()[-1]);
  on_backend(stream, [&]<Backend B>() { matmul_backward_input<B>(dy, weight, dx, offsets, stream); });
}

void matmul_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dweight, RowOffsets offsets,
                            Stream stream) {
  check_groups("matmul_backward_weight", dy, dweight, offsets);
  TESSERA_CHECK(dweight.dtype() == DType::f32, "matmul_backward_weight: dweight must be f32, got ",
                dweight.dtype());
  const int64_t rows = dy.shape()[0];
  check_rows("matmul_backward_weight", "dy", dy, rows, dweight.shape()[-2]);
  check_rows("matmul_backward_weight", "x", x, rows, dweight.shape()[-1]);
  on_backend(stream, [&]<Backend B>() { matmul_backward_weight<B>(dy, x, dweight, offsets, stream); });
}

}  // namespace tessera::kernels
