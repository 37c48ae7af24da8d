#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/cpu/tile_unit.h"

namespace tessera::kernels {
namespace {

// Keys of a tile: with head_dim 64 the tile of keys and that of values take 16 KiB each, half of a first-level cache
// together.  Part of the result: rows are rescaled from tile to tile.
constexpr int64_t kKeys = 64;
// Queries of a tile: copying a tile of keys is paid once for all of them; what is kept of them must fit the second level.
constexpr int64_t kQueries = 192;
constexpr int64_t kQueriesOfUnit =
    512;  // where a matrix unit multiplies: there copying is dearer beside products
// Rows of p and ds that backward holds before it multiplies by their transposes.
constexpr int64_t kBackwardQueries = 96;

template <class T>
struct AttentionForward {
  const T *q, *k, *v;
  T* y;
  float* log_sum;
  int64_t rows, heads, head_dim;
  float scale;
};

template <class T>
struct AttentionGradient {
  const T *q, *k, *v, *y, *dy;
  const float* log_sum;
  T *dq, *dk, *dv;
  int64_t rows, heads, head_dim;
  float scale;
};

/// A segment of rows [segment, segment + length), one head, queries from its row `first` on.
struct AttentionTask {
  int64_t segment, length, head, first;
};

}  // namespace
}  // namespace tessera::kernels

#define TESSERA_KERNELS "kernels/cpu/attention.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"
#define TESSERA_KERNELS "kernels/cpu/amx_attention.inc"
#include "kernels/cpu/amx_isa.h"

namespace tessera::kernels {
namespace {

int64_t padded(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

int64_t longest(std::span<const int64_t> segments) {
  int64_t length = 0;
  for (size_t i = 0; i + 1 < segments.size(); ++i) length = std::max(length, segments[i + 1] - segments[i]);
  return length;
}

/// Floats of one worker's ForwardTiles and BackwardTiles.
int64_t forward_scratch(int64_t width) {
  return 2 * kQueries * width + 17 * kQueries + 3 * kKeys * width + 6 * kKeys;
}
int64_t backward_scratch(int64_t length, int64_t width) {
  return 4 * length * width + (length + 15) / 16 * 16 + 5 * kKeys * width + 2 * kBackwardQueries * kKeys;
}

/// One task per head and rows_per_task rows of a segment, the longest first so that threads end at about the same time.
std::vector<AttentionTask> tasks_of(std::span<const int64_t> segments, int64_t heads, int64_t rows_per_task) {
  std::vector<AttentionTask> tasks;
  for (size_t i = 0; i + 1 < segments.size(); ++i) {
    const int64_t length = segments[i + 1] - segments[i];
    for (int64_t first = 0; first < length; first += rows_per_task)
      for (int64_t head = 0; head < heads; ++head) tasks.push_back({segments[i], length, head, first});
  }
  const auto work = [=](const AttentionTask& task) {
    return std::min(task.length, task.first + rows_per_task);
  };
  std::stable_sort(tasks.begin(), tasks.end(),
                   [&](const auto& a, const auto& b) { return work(a) > work(b); });
  return tasks;
}

/// Calls run(task, scratch) on the stream's threads, each with floats of its own.
template <class Run>
void run_tasks(Stream stream, const std::vector<AttentionTask>& tasks, int64_t floats, const Run& run) {
  ThreadPool& pool = engine_of(stream).pool;
  const Tensor scratch = Tensor::empty({pool.threads(), floats}, DType::f32, stream);
  float* const memory = scratch.data<float>();
  pool.run(static_cast<int64_t>(tasks.size()), [&](int64_t task, int worker) {
    run(tasks[static_cast<size_t>(task)], memory + worker * floats);
  });
}

}  // namespace

void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                       const Tensor& log_sum, AttentionOptions options, Stream stream) {
  const Check check{"attention_forward", stream};
  check.floats("q", q, 3);
  check.tensor("k", k, q.shape(), q.dtype());
  check.tensor("v", v, q.shape(), q.dtype());
  check.tensor("y", y, q.shape(), q.dtype());
  check.tensor("log_sum", log_sum, {q.shape()[1], q.shape()[0]}, DType::f32);
  check.offsets("segments", options.segments, q.shape()[0]);
  on_backend(stream, [&]<Backend B>() { attention_forward<B>(q, k, v, y, log_sum, options, stream); });
}

template <>
void attention_forward<Backend::cpu>(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                                     const Tensor& log_sum, AttentionOptions options, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "attention_forward", q, k, v, y, log_sum);
  const int64_t rows = q.shape()[0], heads = q.shape()[1], head_dim = q.shape()[2];
  visit_float(q.dtype(), [&]<class T>() {
    const AttentionForward<T> arguments{q.data<T>(),           k.data<T>(), v.data<T>(), y.data<T>(),
                                        log_sum.data<float>(), rows,        heads,       head_dim,
                                        options.scale};
    auto* forward = cpu::select(stream, avx2::attention_forward_tile<T>, avx512::attention_forward_tile<T>);
    int64_t queries = kQueries, scratch_floats = forward_scratch(padded(head_dim));
    if constexpr (std::is_same_v<T, bf16>) {
      if (engine_of(stream).isa == Isa::avx512_bf16)
        forward = avx512_bf16::attention_forward_tile<bf16, avx512_bf16::PairDots>;
      if (engine_of(stream).isa == Isa::amx) {
        forward = supports(Isa::amx) ? amx::attention_forward_tile<cpu::AmxUnit>
                                     : amx::attention_forward_tile<cpu::PlainUnit>;
        queries = kQueriesOfUnit, scratch_floats = amx::ForwardBlocks(nullptr, head_dim).floats;
      }
    }
    run_tasks(stream, tasks_of(options.segments, heads, queries), scratch_floats,
              [&](const AttentionTask& task, float* scratch) { forward(arguments, task, scratch); });
  });
}

void attention_backward(const AttentionBackward& tensors, AttentionOptions options, Stream stream) {
  const Check check{"attention_backward", stream};
  const Tensor& q = tensors.q;
  check.floats("q", q, 3);
  check.tensor("k", tensors.k, q.shape(), q.dtype());
  check.tensor("v", tensors.v, q.shape(), q.dtype());
  check.tensor("y", tensors.y, q.shape(), q.dtype());
  check.tensor("log_sum", tensors.log_sum, {q.shape()[1], q.shape()[0]}, DType::f32);
  check.tensor("dy", tensors.dy, q.shape(), q.dtype());
  check.tensor("dq", tensors.dq, q.shape(), q.dtype());
  check.tensor("dk", tensors.dk, q.shape(), q.dtype());
  check.tensor("dv", tensors.dv, q.shape(), q.dtype());
  check.offsets("segments", options.segments, q.shape()[0]);
  on_backend(stream, [&]<Backend B>() { attention_backward<B>(tensors, options, stream); });
}

template <>
void attention_backward<Backend::cpu>(const AttentionBackward& tensors, AttentionOptions options,
                                      Stream stream) {
  const TraceRange range =
      cpu::kernel_range(stream, "attention_backward", tensors.q, tensors.k, tensors.v, tensors.y,
                        tensors.log_sum, tensors.dy, tensors.dq, tensors.dk, tensors.dv);
  const int64_t rows = tensors.q.shape()[0], heads = tensors.q.shape()[1], head_dim = tensors.q.shape()[2];
  const int64_t length = longest(options.segments);
  visit_float(tensors.q.dtype(), [&]<class T>() {
    const AttentionGradient<T> arguments{tensors.q.data<T>(),
                                         tensors.k.data<T>(),
                                         tensors.v.data<T>(),
                                         tensors.y.data<T>(),
                                         tensors.dy.data<T>(),
                                         tensors.log_sum.data<float>(),
                                         tensors.dq.data<T>(),
                                         tensors.dk.data<T>(),
                                         tensors.dv.data<T>(),
                                         rows,
                                         heads,
                                         head_dim,
                                         options.scale};
    auto* backward =
        cpu::select(stream, avx2::attention_backward_segment<T>, avx512::attention_backward_segment<T>);
    int64_t scratch_floats = backward_scratch(length, padded(head_dim));
    if constexpr (std::is_same_v<T, bf16>) {
      if (engine_of(stream).isa == Isa::avx512_bf16)
        backward = avx512_bf16::attention_backward_segment<bf16, avx512_bf16::PairDots>;
      if (engine_of(stream).isa == Isa::amx) {
        backward = supports(Isa::amx) ? amx::attention_backward_segment<cpu::AmxUnit>
                                      : amx::attention_backward_segment<cpu::PlainUnit>;
        scratch_floats = amx::BackwardBlocks(nullptr, length, head_dim).floats;
      }
    }
    run_tasks(stream, tasks_of(options.segments, heads, std::max<int64_t>(1, length)), scratch_floats,
              [&](const AttentionTask& task, float* scratch) { backward(arguments, task, scratch); });
  });
}

}  // namespace tessera::kernels
