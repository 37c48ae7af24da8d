#include "kernels/cached_attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

namespace tessera::kernels {
namespace {

// Keys between two looks at the maximum: their scores stay in registers or the first-level cache.  Part of the result:
// sums are rescaled from chunk to chunk.
constexpr int64_t kCachedKeys = 64;

/// One query and one head; rows of keys and values are a stride apart.
template <class T>
struct CachedAttentionHead {
  const T *q, *keys, *values;
  T* y;
  int64_t visible, stride, head_dim;
  float scale;
};

}  // namespace
}  // namespace tessera::kernels

#define TESSERA_KERNELS "kernels/cpu/cached_attention.inc"
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void cached_attention(const CachedAttention& tensors, int64_t capacity, Stream stream) {
  const Check check{"cached_attention", stream};
  const auto& [q, keys, values, sequence, visible, y] = tensors;
  check.floats("q", q, 3);
  const Shape& shape = q.shape();
  TESSERA_CHECK(1 <= shape[2] && shape[2] <= 256, check.op, ": head_dim must be in [1, 256], got ", shape);
  check.floats("keys", keys, 3);
  check.tensor("keys", keys, {keys.shape()[0], shape[1], shape[2]}, q.dtype());
  check.tensor("values", values, keys.shape(), q.dtype());
  TESSERA_CHECK(capacity > 0 && keys.shape()[0] % capacity == 0, check.op,
                ": keys must be whole sequences of capacity ", capacity, ", got ", keys.shape());
  check.tensor("sequence", sequence, {shape[0]}, DType::i32);
  check.tensor("visible", visible, {shape[0]}, DType::i32);
  check.tensor("y", y, shape, q.dtype());
  on_backend(stream, [&]<Backend B>() { cached_attention<B>(tensors, capacity, stream); });
}

template <>
void cached_attention<Backend::cpu>(const CachedAttention& tensors, int64_t capacity, Stream stream) {
  const TraceRange range =
      cpu::kernel_range(stream, "cached_attention", tensors.q, tensors.keys, tensors.values, tensors.y);
  const Check check{"cached_attention", stream};
  const std::span<const int32_t> sequence = tensors.sequence.values<int32_t>(),
                                 visible = tensors.visible.values<int32_t>();
  check.values("sequence", sequence, 0, tensors.keys.shape()[0] / capacity);
  check.values("visible", visible, 1, capacity + 1);
  const int64_t rows = tensors.q.shape()[0], heads = tensors.q.shape()[1], head_dim = tensors.q.shape()[2];
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  ThreadPool& pool = engine_of(stream).pool;
  const Tensor scratch = Tensor::empty({pool.threads(), (head_dim + 15) / 16 * 16}, DType::f32, stream);
  visit_float(tensors.q.dtype(), [&]<class T>() {
    auto* const attend =
        cpu::select(stream, avx2::cached_attention_head<T>, avx512::cached_attention_head<T>);
    pool.run(rows * heads, [&](int64_t task, int worker) {
      const int64_t row = task / heads, head = task % heads;
      const int64_t at = (sequence[row] * capacity * heads + head) * head_dim;
      const CachedAttentionHead<T> arguments{tensors.q.data<T>() + task * head_dim,
                                             tensors.keys.data<T>() + at,
                                             tensors.values.data<T>() + at,
                                             tensors.y.data<T>() + task * head_dim,
                                             visible[row],
                                             heads * head_dim,
                                             head_dim,
                                             scale};
      attend(arguments, scratch.data<float>() + worker * scratch.shape()[1]);
    });
  });
}

}  // namespace tessera::kernels
