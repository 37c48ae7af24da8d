#include "kernels/rope.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/rope_frequencies.h"

namespace tessera::kernels {
namespace {

template <class T>
struct Rope {
  const T* x;
  const int32_t* positions;
  const double* frequencies;  ///< [head_dim / 2], radians per position
  T* y;
  int64_t heads, head_dim;
  double direction;
};

}  // namespace
}  // namespace tessera::kernels

#define TESSERA_KERNELS "kernels/cpu/rope.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

void check_rope(const Check& check, const Tensor& x, const Tensor& positions, const Tensor& y, double base) {
  check.floats("x", x, 3);
  TESSERA_CHECK(x.shape()[2] % 2 == 0, check.op, ": head_dim must be even, got ", x.shape());
  check.tensor("positions", positions, {x.shape()[0]}, DType::i32);
  check.tensor("y", y, x.shape(), x.dtype());
  TESSERA_CHECK(base > 1 && std::isfinite(base), check.op, ": base must exceed 1, got ", base);
}

void rotate(const char* op, const Tensor& x, const Tensor& positions, const Tensor& y, double base,
            double direction, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, op, x, y, positions);
  const int64_t rows = x.shape()[0], heads = x.shape()[1], head_dim = x.shape()[2];
  const std::span<const int32_t> all = positions.values<int32_t>();
  const auto wrong = std::find_if(all.begin(), all.end(), [](int32_t position) { return position < 0; });
  TESSERA_CHECK(wrong == all.end(), op, ": positions[", wrong - all.begin(), "] must not be negative, got ",
                *wrong);
  const Tensor scratch =
      Tensor::empty({head_dim / 2, static_cast<int64_t>(sizeof(double))}, DType::u8, stream);
  auto* const frequencies = reinterpret_cast<double*>(scratch.data<uint8_t>());
  rope_frequencies({frequencies, static_cast<size_t>(head_dim / 2)}, base);
  visit_float(x.dtype(), [&]<class T>() {
    const Rope<T> arguments{x.data<T>(), positions.data<int32_t>(), frequencies, y.data<T>(), heads, head_dim,
                            direction};
    auto* const turn =
        cpu::select(stream, avx2::rope_rows<T>, avx512::rope_rows<T>, avx512_bf16::rope_rows<T>);
    cpu::parallel_for(stream, rows, cpu::task_rows(heads * head_dim),
                      [&](int64_t begin, int64_t end) { turn(arguments, begin, end); });
  });
}

}  // namespace

void rope_forward(const Tensor& x, const Tensor& positions, const Tensor& y, double base, Stream stream) {
  check_rope({"rope_forward", stream}, x, positions, y, base);
  on_backend(stream, [&]<Backend B>() { rope_forward<B>(x, positions, y, base, stream); });
}

template <>
void rope_forward<Backend::cpu>(const Tensor& x, const Tensor& positions, const Tensor& y, double base,
                                Stream stream) {
  rotate("rope_forward", x, positions, y, base, 1, stream);
}

void rope_backward(const Tensor& dy, const Tensor& positions, const Tensor& dx, double base, Stream stream) {
  check_rope({"rope_backward", stream}, dy, positions, dx, base);
  on_backend(stream, [&]<Backend B>() { rope_backward<B>(dy, positions, dx, base, stream); });
}

template <>
void rope_backward<Backend::cpu>(const Tensor& dy, const Tensor& positions, const Tensor& dx, double base,
                                 Stream stream) {
  rotate("rope_backward", dy, positions, dx, base, -1, stream);
}

}  // namespace tessera::kernels
