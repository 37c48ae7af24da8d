#include "kernels/embedding.h"

#include <cstring>
#include <span>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/permute.h"

#define TESSERA_KERNELS "kernels/cpu/sum_rows.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void embedding_forward(const Tensor& ids, const Tensor& table, const Tensor& y, Stream stream) {
  const Check check{"embedding_forward", stream};
  check.floats("table", table, 2);
  check.present("ids", ids);
  check.tensor("ids", ids, {ids.count()}, DType::i32);
  check.tensor("y", y, {ids.count(), table.shape()[1]}, table.dtype());
  on_backend(stream, [&]<Backend B>() { embedding_forward<B>(ids, table, y, stream); });
}

template <>
void embedding_forward<Backend::cpu>(const Tensor& ids, const Tensor& table, const Tensor& y, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "embedding_forward", y, y, ids);
  Check{"embedding_forward", stream}.values("ids", ids.values<int32_t>(), 0, table.shape()[0]);
  const int64_t width = table.shape()[1], row_bytes = width * bytes_of(table.dtype());
  const int32_t* const id = ids.data<int32_t>();
  const char* const from = static_cast<const char*>(table.bytes_data());
  char* const to = static_cast<char*>(y.bytes_data());
  cpu::parallel_for(stream, ids.count(), cpu::task_rows(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::memcpy(to + row * row_bytes, from + id[row] * row_bytes, static_cast<size_t>(row_bytes));
  });
}

void embedding_backward(const Tensor& ids, const Tensor& dy, const Tensor& dtable, Stream stream) {
  const Check check{"embedding_backward", stream};
  check.floats("dy", dy, 2);
  check.tensor("ids", ids, {dy.shape()[0]}, DType::i32);
  check.floats("dtable", dtable, 2);
  check.tensor("dtable", dtable, {dtable.shape()[0], dy.shape()[1]}, DType::f32);
  on_backend(stream, [&]<Backend B>() { embedding_backward<B>(ids, dy, dtable, stream); });
}

// The rows of each id, found by a counting sort, are summed by one task: every element of the table is written once.
template <>
void embedding_backward<Backend::cpu>(const Tensor& ids, const Tensor& dy, const Tensor& dtable,
                                      Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "embedding_backward", dy, dtable, ids);
  const int64_t vocab = dtable.shape()[0], width = dtable.shape()[1];
  Check{"embedding_backward", stream}.values("ids", ids.values<int32_t>(), 0, vocab);
  const Tensor offsets = Tensor::empty({vocab + 1}, DType::i32, stream), rows = Tensor::like(ids);
  invert(ids, offsets, rows, stream);
  const int32_t* const begins = offsets.data<int32_t>();
  float* const gradient = dtable.data<float>();
  visit_float(dy.dtype(), [&]<class T>() {
    auto* const sum = cpu::select(stream, avx2::sum_rows<T, float>, avx512::sum_rows<T, float>,
                                  avx512_bf16::sum_rows<T, float>);
    cpu::parallel_for(stream, vocab, cpu::task_rows(width), [&](int64_t begin, int64_t end) {
      for (int64_t id = begin; id < end; ++id) {
        const auto mine = rows.values<int32_t>().subspan(begins[id], begins[id + 1] - begins[id]);
        sum(dy.data<T>(), nullptr, mine, gradient + id * width, width);
      }
    });
  });
}

}  // namespace tessera::kernels
