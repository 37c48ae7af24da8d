#include "kernels/matmul.h"

#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/amx_matmul.h"
#include "kernels/cpu/vector_matmul.h"
#include "runtime/cpu_engine.h"
#include "runtime/meta_engine.h"

namespace tessera::kernels {
namespace {

using cpu::Matrix;
using cpu::Product;

/// Rows [row, ...) of a tensor as a matrix with columns columns.
Matrix rows_from(const Tensor& tensor, int64_t row, int64_t columns, bool transposed = false) {
  char* const data = static_cast<char*>(tensor.bytes_data());
  return {data + row * columns * bytes_of(tensor.dtype()), tensor.dtype(), columns, transposed};
}

/// product_of(group, first row, rows) for every group; weight is [..., out, in].
template <class ProductOf>
void multiply(const char* who, const Tensor& weight, RowOffsets offsets, Stream stream,
              const ProductOf& product_of) {
  CpuEngine& engine = engine_of(stream);
  TraceRange range(engine.trace, who);
  std::vector<Product> products;
  for (size_t g = 0; g + 1 < offsets.size(); ++g)
    products.push_back(product_of(static_cast<int64_t>(g), offsets[g], offsets[g + 1] - offsets[g]));
  const bool rounds =
      engine.isa >= Isa::avx512_bf16 && weight.count() > 0 && products.front().b.dtype == DType::bf16;
  if (!rounds) return cpu::multiply_f32(products, stream);
  return engine.isa >= Isa::amx ? cpu::multiply_amx(products, stream)
                                : cpu::multiply_bf16_pairs(products, stream);
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

}  // namespace

template <>
void matmul_forward<Backend::cpu>(const Tensor& x, const Tensor& weight, const Tensor& y, RowOffsets offsets,
                                  Stream stream) {
  const int64_t out = weight.shape()[-2], in = weight.shape()[-1];
  multiply("matmul_forward", weight, offsets, stream, [&](int64_t g, int64_t row, int64_t rows) -> Product {
    return {
        rows, out, in, rows_from(x, row, in), rows_from(weight, g * out, in, true), rows_from(y, row, out)};
  });
}

template <>
void matmul_backward_input<Backend::cpu>(const Tensor& dy, const Tensor& weight, const Tensor& dx,
                                         RowOffsets offsets, Stream stream) {
  const int64_t out = weight.shape()[-2], in = weight.shape()[-1];
  multiply(
      "matmul_backward_input", weight, offsets, stream, [&](int64_t g, int64_t row, int64_t rows) -> Product {
        return {
            rows, in, out, rows_from(dy, row, out), rows_from(weight, g * out, in), rows_from(dx, row, in)};
      });
}

template <>
void matmul_backward_weight<Backend::cpu>(const Tensor& dy, const Tensor& x, const Tensor& dweight,
                                          RowOffsets offsets, std::span<const Tensor> sums, Stream stream) {
  const int64_t out = dweight.shape()[-2], in = dweight.shape()[-1];
  multiply("matmul_backward_weight", dweight, offsets, stream, [&](int64_t g, int64_t row, int64_t rows) {
    Product product{
        out, in, rows, rows_from(dy, row, out, true), rows_from(x, row, in), rows_from(dweight, g * out, in)};
    for (const Tensor& sum : sums) product.sums.push_back(sum.data<float>() + g * out * in);
    product.past_caches = sums.empty();  // until the next micro-batch
    return product;
  });
}

namespace {

/// On meta, what a processor takes besides the operands for sums of so many terms, which are rounded or added to others in the end, or
/// not.
Tensor counted_scratch(bool finishes, int64_t terms, Stream stream) {
  const MetaEngine* const engine = meta_engine_of(stream);
  if (!engine || engine->product_scratch().plain == 0) return {};
  const auto [plain, waiting] = engine->product_scratch();
  const MemoryFor use(MemoryUse::scratch, stream);
  return Tensor::empty({finishes && terms > cpu::kDepth ? waiting : plain}, DType::u8, stream);
}

}  // namespace

void matmul_forward(const Tensor& x, const Tensor& weight, const Tensor& y, RowOffsets offsets,
                    Stream stream) {
  check_groups("matmul_forward", x, weight, offsets);
  const int64_t rows = x.shape()[0];
  check_rows("matmul_forward", "x", x, rows, weight.shape()[-1]);
  check_rows("matmul_forward", "y", y, rows, weight.shape()[-2]);
  const Tensor scratch = counted_scratch(y.dtype() == DType::bf16, weight.shape()[-1], stream);
  on_backend(stream, [&]<Backend B>() { matmul_forward<B>(x, weight, y, offsets, stream); });
}

void matmul_backward_input(const Tensor& dy, const Tensor& weight, const Tensor& dx, RowOffsets offsets,
                           Stream stream) {
  check_groups("matmul_backward_input", dy, weight, offsets);
  const int64_t rows = dy.shape()[0];
  check_rows("matmul_backward_input", "dy", dy, rows, weight.shape()[-2]);
  check_rows("matmul_backward_input", "dx", dx, rows, weight.shape()[-1]);
  const Tensor scratch = counted_scratch(dx.dtype() == DType::bf16, weight.shape()[-2], stream);
  on_backend(stream, [&]<Backend B>() { matmul_backward_input<B>(dy, weight, dx, offsets, stream); });
}

void matmul_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& dweight, RowOffsets offsets,
                            std::span<const Tensor> sums, Stream stream) {
  check_groups("matmul_backward_weight", dy, dweight, offsets);
  TESSERA_CHECK(dweight.dtype() == DType::f32, "matmul_backward_weight: dweight must be f32, got ",
                dweight.dtype());
  const int64_t rows = dy.shape()[0];
  check_rows("matmul_backward_weight", "dy", dy, rows, dweight.shape()[-2]);
  check_rows("matmul_backward_weight", "x", x, rows, dweight.shape()[-1]);
  for (const Tensor& sum : sums)
    TESSERA_CHECK(sum.shape() == dweight.shape() && sum.dtype() == DType::f32,
                  "matmul_backward_weight: sums must be ", dweight.shape(), " f32, got ", sum.shape(), " ",
                  sum.dtype());
  const Tensor scratch = counted_scratch(!sums.empty(), rows, stream);
  on_backend(stream, [&]<Backend B>() { matmul_backward_weight<B>(dy, x, dweight, offsets, sums, stream); });
}

}  // namespace tessera::kernels
