// The kernels other than matrix products, each against what bounds it, measured in the same run.
//   fraction   of passes over memory: bytes that the kernel must read and write per second, over those of a copy of
//              arrays of the same size; of attention and nearest codes: their multiply-adds over the processor's peak (scores above the
//              diagonal do not count, backward counts 2.5 times forward)

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "benchmarks/machine_limits.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/binary_cross_entropy.h"
#include "kernels/cached_attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/exact_norm.h"
#include "kernels/expert_choice.h"
#include "kernels/nearest_code.h"
#include "kernels/permute.h"
#include "kernels/pointwise.h"
#include "kernels/qk_norm.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/squared_error.h"
#include "kernels/swiglu.h"
#include "runtime/cpu_engine.h"
#include "runtime/random.h"

namespace tessera::benchmarks {
namespace {

using namespace kernels;

constexpr int64_t kRows = 4096, kWidth = 512, kHeads = 8, kHidden = 1408, kVocab = 8192, kExperts = 8;

/// A kernel with its operands; every call does the same work.
struct Op {
  std::function<void()> run;
  int64_t bytes = 0;  ///< read and written, for a pass over memory
  double flops = 0;   ///< for attention and nearest codes
};

struct Setting {
  Stream stream;
  DType dtype;

  Tensor draw(Shape shape, DType type) const {
    const Tensor tensor = Tensor::empty(shape, type, stream);
    visit_float(type, [&]<class T>() {
      uint64_t index = 0;
      for (T& value : tensor.values<T>())
        value = T(static_cast<float>(2 * random_uniform(1, Purpose("operand"), index++) - 1));
    });
    return tensor;
  }
  Tensor draw(Shape shape) const { return draw(shape, dtype); }
  Tensor numbers(int64_t count, int64_t bound) const {
    std::vector<int32_t> values;
    for (int64_t i = 0; i < count; ++i)
      values.push_back(static_cast<int32_t>(random_below(1, Purpose("number"), i, bound)));
    return Tensor::from(values, {count}, stream);
  }
};

int64_t bytes_of(std::initializer_list<Tensor> tensors) {
  int64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.bytes();
  return bytes;
}

using Make = std::function<Op(const Setting&)>;

std::map<std::string, Make> norms() {
  return {
      {"rms_norm_forward",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), weight = s.draw({kWidth}), residual = Tensor::like(x),
                      y = Tensor::like(x);
         const Tensor inverse = Tensor::empty({kRows}, DType::f32, s.stream);
         cast(x, residual, s.stream);
         return Op{[=] { rms_norm_forward(x, weight, residual, y, inverse, 1e-5f, s.stream); },
                   bytes_of({x, residual, y})};
       }},
      {"rms_norm_backward",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), weight = s.draw({kWidth}), dy = s.draw({kRows, kWidth}),
                      dx = Tensor::like(x);
         const Tensor inverse = s.draw({kRows}, DType::f32),
                      dweight = Tensor::empty({kWidth}, DType::f32, s.stream);
         return Op{[=] { rms_norm_backward(x, weight, inverse, dy, dx, dweight, s.stream); },
                   bytes_of({x, dy, dx})};
       }},
      {"qk_norm_forward",
       [](const Setting& s) {
         const int64_t cols = kWidth / kHeads;
         const Tensor x = s.draw({kRows, kHeads, cols}), weight = s.draw({cols}), bias = s.draw({cols}),
                      table = s.draw({kRows, cols}, DType::f32), y = Tensor::like(x);
         const Tensor statistics = Tensor::empty({kRows * kHeads, 2}, DType::f32, s.stream);
         return Op{[=] {
                     qk_norm_forward({x, weight, bias, table, y, statistics}, 1e-5f, s.stream);
                   },
                   bytes_of({x, table, y, statistics})};
       }},
      {"qk_norm_backward",
       [](const Setting& s) {
         const int64_t cols = kWidth / kHeads;
         const Tensor x = s.draw({kRows, kHeads, cols}), weight = s.draw({cols}), dy = s.draw(x.shape()),
                      table = s.draw({kRows, cols}, DType::f32), dx = Tensor::like(x);
         const Tensor statistics = s.draw({kRows * kHeads, 2}, DType::f32);
         const Tensor dweight = Tensor::empty({cols}, DType::f32, s.stream), dbias = Tensor::like(dweight);
         return Op{[=] {
                     qk_norm_backward({x, weight, table, statistics, dy, dx, dweight, dbias}, s.stream);
                   },
                   bytes_of({x, table, statistics, dy, dx})};
       }},
  };
}

std::map<std::string, Make> pointwise() {
  return {
      {"add",
       [](const Setting& s) {
         const Tensor a = s.draw({kRows, kWidth}), b = s.draw({kRows, kWidth}), y = Tensor::like(a);
         return Op{[=] { add(a, b, y, s.stream); }, bytes_of({a, b, y})};
       }},
      {"cast_to_f32",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), y = Tensor::empty(x.shape(), DType::f32, s.stream);
         return Op{[=] { cast(x, y, s.stream); }, bytes_of({x, y})};
       }},
      {"silu_forward",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), y = Tensor::like(x);
         return Op{[=] { silu_forward(x, y, s.stream); }, bytes_of({x, y})};
       }},
      {"silu_backward",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), dy = s.draw({kRows, kWidth}), dx = Tensor::like(x);
         return Op{[=] { silu_backward(x, dy, dx, s.stream); }, bytes_of({x, dy, dx})};
       }},
      {"subtract",
       [](const Setting& s) {
         const Tensor a = s.draw({kRows, kWidth}), b = s.draw({kRows, kWidth}), y = Tensor::like(a);
         return Op{[=] { subtract(a, b, y, s.stream); }, bytes_of({a, b, y})};
       }},
      {"swiglu_forward",
       [](const Setting& s) {
         const Tensor gate = s.draw({kRows, kHidden}), up = s.draw({kRows, kHidden}), y = Tensor::like(gate);
         return Op{[=] { swiglu_forward(gate, up, y, s.stream); }, bytes_of({gate, up, y})};
       }},
      {"swiglu_backward",
       [](const Setting& s) {
         const Tensor gate = s.draw({kRows, kHidden}), up = s.draw({kRows, kHidden}),
                      dy = s.draw({kRows, kHidden});
         const Tensor dgate = Tensor::like(gate), dup = Tensor::like(up);
         return Op{[=] { swiglu_backward(gate, up, dy, dgate, dup, s.stream); },
                   bytes_of({gate, up, dy, dgate, dup})};
       }},
      {"rope_forward",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kHeads, kWidth / kHeads}), y = Tensor::like(x),
                      table = s.draw({kRows, kWidth / kHeads}, DType::f32);
         return Op{[=] { rope_forward(x, table, y, s.stream); }, bytes_of({x, table, y})};
       }},
  };
}

/// In f32 whatever the setting.
std::map<std::string, Make> updates() {
  return {
      {"adamw",
       [](const Setting& s) {
         const Shape shape{1 << 24};
         const Tensor value = s.draw(shape, DType::f32), grad = s.draw(shape, DType::f32);
         const Tensor first = Tensor::zeros(shape, DType::f32, s.stream),
                      second = Tensor::zeros(shape, DType::f32, s.stream);
         const AdamWOptions options{.rate = 1e-6f, .decay = 0.1f};
         return Op{[=] { adamw(value, grad, first, second, {}, options, s.stream); }, 7 * value.bytes()};
       }},
      {"norm_parts",
       [](const Setting& s) {
         const Tensor x = s.draw({1 << 24}, DType::f32);
         return Op{[=] { norm_parts(x, 4, s.stream); }, x.bytes()};
       }},
      {"cross_entropy_forward",
       [](const Setting& s) {
         const Tensor logits = s.draw({kRows, kVocab}, DType::f32), targets = s.numbers(kRows, kVocab);
         const Tensor nll = Tensor::empty({kRows}, DType::f32, s.stream), log_sum = Tensor::like(nll);
         return Op{[=] { cross_entropy_forward(logits, targets, nll, log_sum, s.stream); }, logits.bytes()};
       }},
      {"cross_entropy_backward",
       [](const Setting& s) {
         const Tensor logits = s.draw({kRows, kVocab}, DType::f32), targets = s.numbers(kRows, kVocab);
         const Tensor log_sum = Tensor::from(std::vector<float>(kRows, 9.0f), {kRows}, s.stream);
         return Op{[=] { cross_entropy_backward(logits, targets, log_sum, {}, s.stream); },
                   2 * logits.bytes()};
       }},
  };
}

/// In f32 whatever the setting, with dtotal 1.
std::map<std::string, Make> binary_losses() {
  const auto answers = [](const Setting& s) {
    std::vector<uint8_t> values(kRows * kWidth);
    for (size_t i = 0; i < values.size(); ++i) values[i] = i % 3 == 0;
    return Tensor::from(values, {kRows, kWidth}, s.stream);
  };
  return {
      {"binary_cross_entropy_forward",
       [=](const Setting& s) {
         const Tensor logits = s.draw({kRows, kWidth}, DType::f32), targets = answers(s);
         const Tensor total = Tensor::empty({1}, DType::f32, s.stream);
         return Op{[=] { binary_cross_entropy_forward(logits, targets, total, 1, s.stream); },
                   bytes_of({logits, targets})};
       }},
      {"binary_cross_entropy_backward",
       [=](const Setting& s) {
         const Tensor logits = s.draw({kRows, kWidth}, DType::f32), targets = answers(s);
         const Tensor dtotal = Tensor::from(std::vector{1.0f}, {1}, s.stream), dlogits = Tensor::like(logits);
         return Op{[=] { binary_cross_entropy_backward(logits, targets, dtotal, dlogits, 1, s.stream); },
                   bytes_of({logits, targets, dlogits})};
       }},
  };
}

std::map<std::string, Make> routing() {
  return {
      {"embedding_backward",
       [](const Setting& s) {
         const Tensor ids = s.numbers(kRows, kVocab), dy = s.draw({kRows, kWidth});
         const Tensor dtable = Tensor::empty({kVocab, kWidth}, DType::f32, s.stream);
         return Op{[=] { embedding_backward(ids, dy, dtable, s.stream); }, bytes_of({dy, dtable})};
       }},
      {"gather",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), index = s.numbers(kRows, kRows), y = Tensor::like(x);
         return Op{[=] { gather(x, index, y, s.stream); }, bytes_of({x, y})};
       }},
      {"combine",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), y = Tensor::like(x), gates = s.draw({kRows}, DType::f32);
         const RowSlots of_row{Tensor::empty({kRows + 1}, DType::i32, s.stream),
                               Tensor::empty({kRows}, DType::i32, s.stream)};
         invert(s.numbers(kRows, kRows), of_row.offsets, of_row.slots, s.stream);
         return Op{[=] { combine(x, gates, of_row, y, s.stream); }, bytes_of({x, y})};
       }},
      {"combine_backward",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), dy = s.draw({kRows, kWidth}), dx = Tensor::like(x);
         const Tensor gates = s.draw({kRows}, DType::f32), dgates = Tensor::like(gates),
                      index = s.numbers(kRows, kRows);
         return Op{[=] {
                     combine_backward({x, gates, index, dy, dx, dgates}, s.stream);
                   },
                   bytes_of({x, dy, dx})};
       }},
      {"expert_choice",
       [](const Setting& s) {
         const Tensor scores = s.draw({kRows, kExperts}, DType::f32);
         std::vector<int32_t> rows(kRows);
         for (int64_t row = 0; row < kRows; ++row) rows[row] = static_cast<int32_t>(row);
         const Tensor candidates = Tensor::from(rows, {kRows}, s.stream);
         const Tensor chosen = Tensor::empty({kExperts, kRows / kExperts}, DType::i32, s.stream);
         const std::vector<int64_t> pools{0, kRows}, counts{kRows / kExperts};
         return Op{[=] {
                     expert_choice(scores, candidates, chosen, {0, pools, counts}, s.stream);
                   },
                   bytes_of({scores, chosen})};
       }},
  };
}

/// One row of eight sequences, whose caches of 2048 positions are full.
std::map<std::string, Make> decoding() {
  constexpr int64_t kSequences = 8, kCapacity = 2048;
  return {
      {"cached_attention",
       [](const Setting& s) {
         const Shape cache{kSequences * kCapacity, kHeads, kWidth / kHeads};
         const Tensor q = s.draw({kSequences, kHeads, kWidth / kHeads}), keys = s.draw(cache),
                      values = s.draw(cache), y = Tensor::like(q);
         std::vector<int32_t> each(kSequences);
         for (int32_t i = 0; i < kSequences; ++i) each[static_cast<size_t>(i)] = i;
         const Tensor sequence = Tensor::from(each, {kSequences}, s.stream);
         const Tensor visible =
             Tensor::from(std::vector<int32_t>(kSequences, kCapacity), {kSequences}, s.stream);
         return Op{[=] {
                     cached_attention({q, keys, values, sequence, visible, y}, kCapacity, s.stream);
                   },
                   bytes_of({keys, values})};
       }},
      {"store_rows",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}), y = s.draw({2 * kRows, kWidth});
         std::vector<int32_t> each(kRows);
         for (int64_t row = 0; row < kRows; ++row)
           each[static_cast<size_t>(row)] =
               static_cast<int32_t>(random_permutation(1, Purpose("row"), 2 * kRows, row));
         const Tensor index = Tensor::from(each, {kRows}, s.stream);
         return Op{[=] { store_rows(x, index, y, s.stream); }, 2 * x.bytes()};
       }},
  };
}

struct AttentionSizes {
  int64_t length, head_dim;
};

/// kRows rows in segments of one length, forward or backward.
Op attention(const Setting& s, AttentionSizes sizes, bool is_forward) {
  const int64_t heads = kWidth / sizes.head_dim;
  const Shape shape{kRows, heads, sizes.head_dim};
  const Tensor q = s.draw(shape), k = s.draw(shape), v = s.draw(shape), dy = s.draw(shape);
  const Tensor y = Tensor::like(q), dq = Tensor::like(q), dk = Tensor::like(q), dv = Tensor::like(q);
  const Tensor log_sum = Tensor::empty({heads, kRows}, DType::f32, s.stream);
  std::vector<int64_t> segments;
  for (int64_t row = 0; row <= kRows; row += sizes.length) segments.push_back(row);
  const float scale = 1 / std::sqrt(static_cast<float>(sizes.head_dim));
  const auto forward = [=] { attention_forward(q, k, v, y, log_sum, {segments, scale}, s.stream); };
  const double flops = 2.0 * static_cast<double>(kRows * (sizes.length + 1) * kWidth);
  if (is_forward) return {forward, 0, flops};
  forward();
  return {[=] {
            attention_backward({q, k, v, y, log_sum, dy, dq, dk, dv}, {segments, scale}, s.stream);
          },
          0, 2.5 * flops};
}

/// fraction comes from the best of the iterations, as the limits come from the best of theirs.
void measure(benchmark::State& state, const Make& make, DType dtype, int threads) {
  CpuEngine engine(threads);
  const Op op = make({engine.stream(), dtype});
  op.run();
  double best = 1e30;
  for (auto _ : state) {
    const int64_t begin = Trace::now_ns();
    op.run();
    const double seconds = 1e-9 * static_cast<double>(Trace::now_ns() - begin);
    best = std::min(best, seconds);
    state.SetIterationTime(seconds);
  }
  const double rate = 1e-9 * (op.flops > 0 ? op.flops : static_cast<double>(op.bytes)) / best;
  const double limit = op.flops > 0 ? peak_gflops(threads) : copy_gigabytes(threads, op.bytes / 2);
  state.counters[op.flops > 0 ? "GFLOP/s" : "GB/s"] = rate;
  state.counters["fraction"] = rate / limit;
}

void add_benchmarks(const std::map<std::string, Make>& ops, std::vector<DType> dtypes) {
  for (const auto& [name, make] : ops)
    for (const DType dtype : dtypes)
      for (const int threads : thread_counts()) {
        const std::string full = str(name, "/", dtype, "/threads:", threads);
        benchmark::RegisterBenchmark(full.c_str(),
                                     [=](benchmark::State& state) { measure(state, make, dtype, threads); })
            ->UseManualTime()
            ->Iterations(9)
            ->Unit(benchmark::kMillisecond);
      }
}

/// In f32 whatever the setting.
std::map<std::string, Make> quantisation() {
  constexpr int64_t kCodes = 1024, kCodeWidth = 16;
  return {
      {"nearest_code",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kCodeWidth}, DType::f32),
                      codes = s.draw({kCodes, kCodeWidth}, DType::f32);
         const Tensor chosen = Tensor::empty({kRows}, DType::i32, s.stream);
         // A difference goes with every multiply-add, so that half of the peak is the most.
         return Op{.run = [=] { nearest_code(x, codes, chosen, s.stream); },
                   .flops = 2.0 * kRows * kCodes * kCodeWidth};
       }},
      {"squared_error_forward",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}, DType::f32), target = s.draw({kRows, kWidth}, DType::f32);
         const Tensor by_row = Tensor::empty({kRows}, DType::f32, s.stream);
         return Op{[=] { squared_error_forward(x, target, by_row, s.stream); }, 2 * x.bytes()};
       }},
      {"squared_error_backward",
       [](const Setting& s) {
         const Tensor x = s.draw({kRows, kWidth}, DType::f32), target = s.draw({kRows, kWidth}, DType::f32);
         const Tensor dtotal = s.draw({1}, DType::f32), dx = Tensor::like(x);
         return Op{[=] { squared_error_backward({x, target, dtotal, dx}, 1, s.stream); }, 3 * x.bytes()};
       }},
  };
}

std::map<std::string, Make> attentions() {
  std::map<std::string, Make> all;
  for (const int64_t length : {64, 512, 2048})
    for (const int64_t head_dim : {32, 64, 128})
      for (const bool is_forward : {true, false})
        all[str("attention_", is_forward ? "forward" : "backward", "/length:", length,
                "/head_dim:", head_dim)] = [=](const Setting& s) {
          return attention(s, {length, head_dim}, is_forward);
        };
  return all;
}

const int registered = [] {
  const std::vector<DType> both = {DType::f32, DType::bf16};
  add_benchmarks(norms(), both);
  add_benchmarks(pointwise(), both);
  add_benchmarks(routing(), both);
  add_benchmarks(decoding(), both);
  add_benchmarks(updates(), {DType::f32});
  add_benchmarks(binary_losses(), {DType::f32});
  add_benchmarks(quantisation(), {DType::f32});
  add_benchmarks(attentions(), both);
  return 0;
}();

}  // namespace
}  // namespace tessera::benchmarks
