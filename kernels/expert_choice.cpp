#include "kernels/expert_choice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "runtime/cpu_engine.h"

namespace tessera::kernels {
namespace {

/// A number that increases with the score: 0 for NaN, more for everything else, the same for both zeros.
uint32_t rank_of(float score) {
  if (std::isnan(score)) return 0;
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// Sorts first by falling score, then by rising row, so that no two keys are equal.
uint64_t key_of(float score, int64_t row) {
  return static_cast<uint64_t>(~rank_of(score)) << 32 | static_cast<uint64_t>(row);
}
int32_t row_of(uint64_t key) { return static_cast<int32_t>(key & 0xffffffffu); }

/// The chosen.size() candidates with the highest scores, in increasing order.  scores: of row 0, a stride apart.
void choose(const float* scores, int64_t stride, std::span<const int32_t> candidates, uint64_t* keys,
            std::span<int32_t> chosen) {
  uint64_t* const end = std::transform(candidates.begin(), candidates.end(), keys,
                                       [=](int32_t row) { return key_of(scores[row * stride], row); });
  uint64_t* const middle = keys + chosen.size();
  if (middle < end) std::nth_element(keys, middle, end);
  std::transform(keys, middle, chosen.begin(), row_of);
  std::sort(chosen.begin(), chosen.end());
}

/// Rows chosen by each expert, from all pools.
int64_t check_counts(const Check& check, const ExpertChoiceOptions& options, int64_t candidates) {
  check.offsets("pools", options.pools, candidates);
  TESSERA_CHECK(options.counts.size() + 1 == options.pools.size(), check.op, ": counts must be ",
                options.pools.size() - 1, " numbers like pools, got ", options.counts.size());
  int64_t total = 0;
  for (size_t pool = 0; pool < options.counts.size(); ++pool) {
    const int64_t size = options.pools[pool + 1] - options.pools[pool];
    TESSERA_CHECK(0 <= options.counts[pool] && options.counts[pool] <= size, check.op, ": counts[", pool,
                  "] must be in [0, ", size, "], got ", options.counts[pool]);
    total += options.counts[pool];
  }
  return total;
}

}  // namespace

void expert_choice(const Tensor& scores, const Tensor& candidates, const Tensor& chosen,
                   ExpertChoiceOptions options, Stream stream) {
  const Check check{"expert_choice", stream};
  check.floats("scores", scores, 2);
  check.tensor("scores", scores, scores.shape(), DType::f32);
  check.present("candidates", candidates);
  check.tensor("candidates", candidates, {candidates.count()}, DType::i32);
  const int64_t total = check_counts(check, options, candidates.count());
  check.present("chosen", chosen);
  TESSERA_CHECK(chosen.shape().rank() == 2, check.op, ": chosen must be [experts, ", total, "], got ",
                chosen.shape());
  check.tensor("chosen", chosen, {chosen.shape()[0], total}, DType::i32);
  TESSERA_CHECK(0 <= options.column && options.column + chosen.shape()[0] <= scores.shape()[1], check.op,
                ": columns [", options.column, ", ", options.column + chosen.shape()[0],
                ") must be inside scores, got ", scores.shape());
  on_backend(stream, [&]<Backend B>() { expert_choice<B>(scores, candidates, chosen, options, stream); });
}

template <>
void expert_choice<Backend::cpu>(const Tensor& scores, const Tensor& candidates, const Tensor& chosen,
                                 ExpertChoiceOptions options, Stream stream) {
  CpuEngine& engine = engine_of(stream);
  const TraceRange range = cpu::kernel_range(stream, "expert_choice", scores, chosen);
  const std::span<const int32_t> rows = candidates.values<int32_t>();
  const Check check{"expert_choice", stream};
  check.values("candidates", rows, 0, scores.shape()[0]);
  const auto wrong = std::adjacent_find(rows.begin(), rows.end(), std::greater_equal<>());
  TESSERA_CHECK(wrong == rows.end(), check.op, ": candidates must increase, got ", wrong[0], " before ",
                wrong[1]);
  const int64_t experts = chosen.shape()[0], total = chosen.shape()[1], stride = scores.shape()[1];
  const int64_t count = candidates.count();
  const float* const first = scores.data<float>() + options.column;
  int32_t* const out = chosen.data<int32_t>();
  const Tensor scratch =
      Tensor::empty({experts, count, static_cast<int64_t>(sizeof(uint64_t))}, DType::u8, stream);
  auto* const keys = reinterpret_cast<uint64_t*>(scratch.data<uint8_t>());
  engine.pool.run(experts, [&](int64_t expert, int) {
    int32_t* next = out + expert * total;
    for (size_t pool = 0; pool < options.counts.size(); ++pool) {
      const int64_t begin = options.pools[pool], wanted = options.counts[pool];
      choose(first + expert, stride, rows.subspan(begin, options.pools[pool + 1] - begin),
             keys + expert * count, {next, static_cast<size_t>(wanted)});
      next += wanted;
    }
  });
}

}  // namespace tessera::kernels
