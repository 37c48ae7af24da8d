#include "kernels/permute.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/permute.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

void check_pick(const Check& check, Argument matrix, Argument slots, const Tensor& index,
                std::span<const int64_t> columns) {
  check.floats(matrix.name, matrix.tensor, 2);
  check.tensor(matrix.name, matrix.tensor, matrix.tensor.shape(), DType::f32);
  check.present("index", index);
  check.tensor("index", index, {index.count()}, DType::i32);
  check.tensor(slots.name, slots.tensor, index.shape(), DType::f32);
  const int64_t cols = matrix.tensor.shape()[1];
  TESSERA_CHECK(static_cast<int64_t>(columns.size()) == cols + 1, check.op, ": columns must be ", cols + 1,
                " numbers, got ", columns.size());
  check.offsets("columns", columns, index.count());
}

/// Calls body(slot, element of the matrix) for every slot.
template <class Body>
void for_each_pick(std::span<const int32_t> index, std::span<const int64_t> columns, const Body& body) {
  const int64_t cols = static_cast<int64_t>(columns.size()) - 1;
  for (int64_t col = 0; col < cols; ++col)
    for (int64_t slot = columns[col]; slot < columns[col + 1]; ++slot) body(slot, index[slot] * cols + col);
}

/// all: whose rows the index counts; some: with a row for every number of it.
void check_rows(const Check& check, Argument all, const Tensor& index, Argument some) {
  check.floats(all.name, all.tensor, 2);
  check.floats(some.name, some.tensor, 2);
  check.tensor(some.name, some.tensor, {some.tensor.shape()[0], all.tensor.shape()[1]}, all.tensor.dtype());
  check.tensor("index", index, {some.tensor.shape()[0]}, DType::i32);
}

/// y[to(s)] = x[from(s)] for every slot s.
template <class From, class To>
void copy_rows(const Tensor& x, const From& from, const Tensor& y, const To& to, int64_t slots,
               Stream stream) {
  const int64_t width = x.shape()[1], row_bytes = width * bytes_of(x.dtype());
  const char* const source = static_cast<const char*>(x.bytes_data());
  char* const target = static_cast<char*>(y.bytes_data());
  cpu::parallel_for(stream, slots, cpu::task_rows(width), [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot)
      std::memcpy(target + to(slot) * row_bytes, source + from(slot) * row_bytes,
                  static_cast<size_t>(row_bytes));
  });
}

}  // namespace

void gather(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  check_rows({"gather", stream}, {"x", x}, index, {"y", y});
  on_backend(stream, [&]<Backend B>() { gather<B>(x, index, y, stream); });
}

template <>
void gather<Backend::cpu>(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "gather", y, y, index);
  Check{"gather", stream}.values("index", index.values<int32_t>(), 0, x.shape()[0]);
  const int32_t* const rows = index.data<int32_t>();
  copy_rows(
      x, [=](int64_t slot) { return int64_t{rows[slot]}; }, y, std::identity(), index.count(), stream);
}

void store_rows(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  check_rows({"store_rows", stream}, {"y", y}, index, {"x", x});
  on_backend(stream, [&]<Backend B>() { store_rows<B>(x, index, y, stream); });
}

template <>
void store_rows<Backend::cpu>(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "store_rows", x, x, index);
  const Check check{"store_rows", stream};
  check.values("index", index.values<int32_t>(), 0, y.shape()[0]);
  std::vector<int32_t> sorted = index.to_vector<int32_t>();
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  TESSERA_CHECK(twice == sorted.end(), check.op, ": index must be distinct, got ", *twice, " twice");
  const int32_t* const rows = index.data<int32_t>();
  copy_rows(
      x, std::identity(), y, [=](int64_t slot) { return int64_t{rows[slot]}; }, index.count(), stream);
}

void invert(const Tensor& index, const Tensor& offsets, const Tensor& slots, Stream stream) {
  const Check check{"invert", stream};
  check.present("offsets", offsets);
  TESSERA_CHECK(offsets.shape().rank() == 1 && offsets.count() > 0 && offsets.dtype() == DType::i32, check.op,
                ": offsets must be [rows + 1] i32, got ", offsets.shape(), " ", offsets.dtype());
  check.present("index", index);
  check.tensor("index", index, {index.count()}, DType::i32);
  check.tensor("slots", slots, index.shape(), DType::i32);
  TESSERA_CHECK(index.count() <= std::numeric_limits<int32_t>::max(), check.op,
                ": at most 2^31 - 1 slots, got ", index.count());
  on_backend(stream, [&]<Backend B>() { invert<B>(index, offsets, slots, stream); });
}

// A counting sort: its passes over a few thousand numbers cost less than handing them to threads.
template <>
void invert<Backend::cpu>(const Tensor& index, const Tensor& offsets, const Tensor& slots, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "invert", index, slots, offsets);
  const int64_t rows = offsets.count() - 1;
  const std::span<const int32_t> row_of = index.values<int32_t>();
  Check{"invert", stream}.values("index", row_of, 0, rows);
  const std::span<int32_t> end = offsets.values<int32_t>();
  std::fill(end.begin(), end.end(), 0);
  for (const int32_t row : row_of) ++end[row + 1];
  for (int64_t row = 0; row < rows; ++row) end[row + 1] += end[row];
  int32_t* const slot_at = slots.data<int32_t>();
  for (int64_t slot = index.count() - 1; slot >= 0; --slot)
    slot_at[--end[row_of[slot] + 1]] = static_cast<int32_t>(slot);
  // Placing backwards has moved the end of each row to its begin, one place too far right.
  std::copy(end.begin() + 1, end.end(), end.begin());
  end.back() = static_cast<int32_t>(index.count());
}

void pick(const Tensor& x, const Tensor& index, std::span<const int64_t> columns, const Tensor& y,
          Stream stream) {
  check_pick({"pick", stream}, {"x", x}, {"y", y}, index, columns);
  on_backend(stream, [&]<Backend B>() { pick<B>(x, index, columns, y, stream); });
}

template <>
void pick<Backend::cpu>(const Tensor& x, const Tensor& index, std::span<const int64_t> columns,
                        const Tensor& y, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "pick", y, y, index);
  Check{"pick", stream}.values("index", index.values<int32_t>(), 0, x.shape()[0]);
  const float* const from = x.data<float>();
  float* const to = y.data<float>();
  for_each_pick(index.values<int32_t>(), columns,
                [&](int64_t slot, int64_t element) { to[slot] = from[element]; });
}

void pick_backward(const Tensor& dy, const Tensor& index, std::span<const int64_t> columns, const Tensor& dx,
                   Stream stream) {
  check_pick({"pick_backward", stream}, {"dx", dx}, {"dy", dy}, index, columns);
  on_backend(stream, [&]<Backend B>() { pick_backward<B>(dy, index, columns, dx, stream); });
}

template <>
void pick_backward<Backend::cpu>(const Tensor& dy, const Tensor& index, std::span<const int64_t> columns,
                                 const Tensor& dx, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "pick_backward", dy, dx, index);
  Check{"pick_backward", stream}.values("index", index.values<int32_t>(), 0, dx.shape()[0]);
  const float* const from = dy.data<float>();
  float* const to = dx.data<float>();
  std::fill_n(to, dx.count(), 0.0f);
  for_each_pick(index.values<int32_t>(), columns,
                [&](int64_t slot, int64_t element) { to[element] = from[slot]; });
}

void combine(const Tensor& x, const Tensor& gates, const RowSlots& of_row, const Tensor& y, Stream stream) {
  const Check check{"combine", stream};
  check.floats("x", x, 2);
  check.floats("y", y, 2);
  const int64_t slots = x.shape()[0], rows = y.shape()[0];
  if (gates) check.tensor("gates", gates, {slots}, DType::f32);
  check.tensor("slots", of_row.slots, {slots}, DType::i32);
  check.tensor("offsets", of_row.offsets, {rows + 1}, DType::i32);
  check.tensor("y", y, {rows, x.shape()[1]}, x.dtype());
  on_backend(stream, [&]<Backend B>() { combine<B>(x, gates, of_row, y, stream); });
}

template <>
void combine<Backend::cpu>(const Tensor& x, const Tensor& gates, const RowSlots& of_row, const Tensor& y,
                           Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "combine", x, gates, y);
  const std::span<const int32_t> offsets = of_row.offsets.values<int32_t>(),
                                 slots = of_row.slots.values<int32_t>();
  const Check check{"combine", stream};
  check.offsets("offsets", offsets, x.shape()[0]);
  check.values("slots", slots, 0, x.shape()[0]);
  const int64_t width = x.shape()[1];
  const float* const gate = gates ? gates.data<float>() : nullptr;
  visit_float(x.dtype(), [&]<class T>() {
    auto* const sum =
        cpu::select(stream, avx2::sum_rows<T, T>, avx512::sum_rows<T, T>, avx512_bf16::sum_rows<T, T>);
    cpu::parallel_for(stream, y.shape()[0], cpu::task_rows(width), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const auto mine = slots.subspan(offsets[row], offsets[row + 1] - offsets[row]);
        sum(x.data<T>(), gate, mine, y.data<T>() + row * width, width);
      }
    });
  });
}

void combine_backward(const CombineBackward& tensors, Stream stream) {
  const Check check{"combine_backward", stream};
  check.floats("dy", tensors.dy, 2);
  check.floats("dx", tensors.dx, 2);
  const Shape slots = {tensors.dx.shape()[0]};
  check.tensor("dx", tensors.dx, {slots[0], tensors.dy.shape()[1]}, tensors.dy.dtype());
  check.tensor("index", tensors.index, slots, DType::i32);
  if (tensors.gates) check.tensor("gates", tensors.gates, slots, DType::f32);
  if (tensors.dgates) {
    check.tensor("dgates", tensors.dgates, slots, DType::f32);
    check.tensor("x", tensors.x, tensors.dx.shape(), tensors.dx.dtype());
  }
  on_backend(stream, [&]<Backend B>() { combine_backward<B>(tensors, stream); });
}

template <>
void combine_backward<Backend::cpu>(const CombineBackward& tensors, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "combine_backward", tensors.dx, tensors.dx, tensors.x,
                                             tensors.gates, tensors.dgates);
  Check{"combine_backward", stream}.values("index", tensors.index.values<int32_t>(), 0,
                                           tensors.dy.shape()[0]);
  const int64_t slots = tensors.dx.shape()[0], width = tensors.dx.shape()[1];
  const int32_t* const row_of = tensors.index.data<int32_t>();
  const float* const gates = tensors.gates ? tensors.gates.data<float>() : nullptr;
  float* const dgates = tensors.dgates ? tensors.dgates.data<float>() : nullptr;
  visit_float(tensors.dy.dtype(), [&]<class T>() {
    auto* const scale =
        cpu::select(stream, avx2::scale_row<T>, avx512::scale_row<T>, avx512_bf16::scale_row<T>);
    auto* const dot = cpu::select(stream, avx2::dot_row<T>, avx512::dot_row<T>, avx512_bf16::dot_row<T>);
    const T* const x = dgates ? tensors.x.data<T>() : nullptr;
    T* const dx = tensors.dx.data<T>();
    cpu::parallel_for(stream, slots, cpu::task_rows(width), [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        const T* const dy = tensors.dy.data<T>() + row_of[slot] * width;
        if (dgates) dgates[slot] = dot(dy, x + slot * width, width);
        scale(dy, gates ? gates[slot] : 1.0f, dx + slot * width, width);
      }
    });
  });
}

}  // namespace tessera::kernels
