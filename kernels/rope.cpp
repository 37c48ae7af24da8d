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

struct RopeTable {
  const int32_t* positions;
  const double* frequencies;  ///< [pairs], radians per position
  float* table;
  int64_t pairs;
};

template <class T>
struct Rope {
  const T* x;
  const float* table;
  T* y;
  int64_t heads, head_dim;
};

}  // namespace
}  // namespace tessera::kernels

#define TESSERA_KERNELS "kernels/cpu/rope.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

void check_rope(const Check& check, const Tensor& x, const Tensor& table, const Tensor& y) {
  check.floats("x", x, 3);
  TESSERA_CHECK(x.shape()[2] % 2 == 0, check.op, ": head_dim must be even, got ", x.shape());
  check.tensor("table", table, {x.shape()[0], x.shape()[2]}, DType::f32);
  check.tensor("y", y, x.shape(), x.dtype());
}

template <bool kBack>
void turn(const char* op, const Tensor& x, const Tensor& table, const Tensor& y, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, op, x, y, table);
  const int64_t rows = x.shape()[0], heads = x.shape()[1], head_dim = x.shape()[2];
  visit_float(x.dtype(), [&]<class T>() {
    const Rope<T> arguments{x.data<T>(), table.data<float>(), y.data<T>(), heads, head_dim};
    auto* const turn_rows = cpu::select(stream, avx2::rope_rows<T, kBack>, avx512::rope_rows<T, kBack>,
                                        avx512_bf16::rope_rows<T, kBack>);
    cpu::parallel_for(stream, rows, cpu::task_rows(heads * head_dim),
                      [&](int64_t begin, int64_t end) { turn_rows(arguments, begin, end); });
  });
}

}  // namespace

void rope_table(const Tensor& positions, const Tensor& table, double base, Stream stream) {
  const Check check{"rope_table", stream};
  check.present("table", table);
  TESSERA_CHECK(table.shape().rank() == 2 && table.shape()[1] % 2 == 0, check.op,
                ": table must be [rows, head_dim] with an even head_dim, got ", table.shape());
  check.tensor("table", table, table.shape(), DType::f32);
  check.tensor("positions", positions, {table.shape()[0]}, DType::i32);
  TESSERA_CHECK(base > 1 && std::isfinite(base), check.op, ": base must exceed 1, got ", base);
  on_backend(stream, [&]<Backend B>() { rope_table<B>(positions, table, base, stream); });
}

template <>
void rope_table<Backend::cpu>(const Tensor& positions, const Tensor& table, double base, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "rope_table", positions, table);
  const int64_t pairs = table.shape()[1] / 2;
  const std::span<const int32_t> all = positions.values<int32_t>();
  const auto wrong = std::find_if(all.begin(), all.end(), [](int32_t position) { return position < 0; });
  TESSERA_CHECK(wrong == all.end(), "rope_table: positions[", wrong - all.begin(),
                "] must not be negative, got ", *wrong);
  const Tensor scratch = Tensor::empty({pairs, static_cast<int64_t>(sizeof(double))}, DType::u8, stream);
  auto* const frequencies = reinterpret_cast<double*>(scratch.data<uint8_t>());
  rope_frequencies({frequencies, static_cast<size_t>(pairs)}, base);
  const RopeTable arguments{positions.data<int32_t>(), frequencies, table.data<float>(), pairs};
  auto* const fill = cpu::select(stream, avx2::rope_table_rows, avx512::rope_table_rows);
  cpu::parallel_for(stream, std::ssize(all), cpu::task_rows(2 * pairs),
                    [&](int64_t begin, int64_t end) { fill(arguments, begin, end); });
}

void rope_forward(const Tensor& x, const Tensor& table, const Tensor& y, Stream stream) {
  check_rope({"rope_forward", stream}, x, table, y);
  on_backend(stream, [&]<Backend B>() { rope_forward<B>(x, table, y, stream); });
}

template <>
void rope_forward<Backend::cpu>(const Tensor& x, const Tensor& table, const Tensor& y, Stream stream) {
  turn<false>("rope_forward", x, table, y, stream);
}

void rope_backward(const Tensor& dy, const Tensor& table, const Tensor& dx, Stream stream) {
  check_rope({"rope_backward", stream}, dy, table, dx);
  on_backend(stream, [&]<Backend B>() { rope_backward<B>(dy, table, dx, stream); });
}

template <>
void rope_backward<Backend::cpu>(const Tensor& dy, const Tensor& table, const Tensor& dx, Stream stream) {
  turn<true>("rope_backward", dy, table, dx, stream);
}

}  // namespace tessera::kernels
