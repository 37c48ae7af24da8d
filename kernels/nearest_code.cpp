#include "kernels/nearest_code.h"

#include <cmath>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/nearest_code.inc"
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void nearest_code(const Tensor& x, const Tensor& codes, const Tensor& chosen, Stream stream) {
  const Check check{"nearest_code", stream};
  constexpr int64_t kMostCodes = int64_t{1} << 24;
  check.floats("x", x, 2);
  const int64_t width = x.shape()[1];
  check.tensor("x", x, x.shape(), DType::f32);
  TESSERA_CHECK(0 < width && width <= kMostCodeWidth, check.op, ": x must have 1 to ", kMostCodeWidth,
                " columns, got ", x.shape());
  check.floats("codes", codes, 2);
  check.tensor("codes", codes, {codes.shape()[0], width}, DType::f32);
  TESSERA_CHECK(0 < codes.shape()[0] && codes.shape()[0] <= kMostCodes, check.op, ": codes must be 1 to ",
                kMostCodes, " rows, got ", codes.shape());
  check.tensor("chosen", chosen, {x.shape()[0]}, DType::i32);
  on_backend(stream, [&]<Backend B>() { nearest_code<B>(x, codes, chosen, stream); });
}

template <>
void nearest_code<Backend::cpu>(const Tensor& x, const Tensor& codes, const Tensor& chosen, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "nearest_code", x, codes, chosen);
  constexpr int64_t kVector = 16;
  const int64_t rows = x.shape()[0], width = x.shape()[1], count = codes.shape()[0];
  const int64_t padded = (count + kVector - 1) / kVector * kVector;
  const Tensor transposed = Tensor::empty({width, padded}, DType::f32, stream);
  float* const columns = transposed.data<float>();
  const float* const code = codes.data<float>();
  for (int64_t k = 0; k < width; ++k)
    for (int64_t i = 0; i < padded; ++i) columns[k * padded + i] = i < count ? code[i * width + k] : NAN;
  auto* const nearest = cpu::select(stream, avx2::nearest_code_row, avx512::nearest_code_row);
  const float* const from = x.data<float>();
  int32_t* const to = chosen.data<int32_t>();
  cpu::parallel_for(stream, rows, cpu::task_rows(width * count), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) to[row] = nearest(from + row * width, width, columns, padded);
  });
}

}  // namespace tessera::kernels
