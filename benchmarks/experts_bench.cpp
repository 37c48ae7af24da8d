// Products of the few rows of each expert, whose weights and gradients come from memory and go there, as in a step: sets of them, together
// larger than the caches, take turns.
//   fraction         the rate over that of one set alone, which stays in the caches
//   peak_fraction    over the processor's multiply-add peak in f32
//   memory_fraction  bytes of weights and gradients per second over those of a copy

#include <benchmark/benchmark.h>

#include <functional>
#include <string>
#include <vector>

#include "benchmarks/machine_limits.h"
#include "benchmarks/median.h"
#include "kernels/matmul.h"
#include "runtime/cpu_engine.h"

namespace tessera::benchmarks {
namespace {

constexpr int64_t kExperts = 4, kIn = 256, kOut = 704;
constexpr size_t kSets = 48;  // 2.9 MB of gradients each

/// A call of one form on the set-th weights or gradients.
struct Call {
  std::function<void(size_t set)> run;
  int64_t bytes;  ///< of weights read, of gradients read and written
};

Call call_of(const std::string& form, int64_t rows, DType dtype, Stream stream) {
  std::vector<int64_t> offsets;
  for (int64_t expert = 0; expert <= kExperts; ++expert) offsets.push_back(expert * rows);
  // Zeros take as long as other numbers.
  const Tensor x = Tensor::zeros({kExperts * rows, kIn}, dtype, stream),
               y = Tensor::zeros({kExperts * rows, kOut}, dtype, stream);
  const bool of_gradients = form.starts_with("backward_weight");
  std::vector<Tensor> sets(kSets);
  for (Tensor& set : sets)
    set = Tensor::zeros({kExperts, kOut, kIn}, of_gradients ? DType::f32 : dtype, stream);
  const int64_t bytes = sets[0].bytes();
  if (form == "forward")
    return {[=](size_t set) { kernels::matmul_forward(x, sets[set], y, offsets, stream); }, bytes};
  if (form == "backward_input")
    return {[=](size_t set) { kernels::matmul_backward_input(y, sets[set], x, offsets, stream); }, bytes};
  if (form == "backward_weight")
    return {[=](size_t set) { kernels::matmul_backward_weight(y, x, sets[set], offsets, {}, stream); },
            bytes};
  return {[=](size_t set) {
            kernels::matmul_backward_weight(y, x, sets[set], offsets, {&sets[set], 1}, stream);
          },
          2 * bytes};
}

void measure(benchmark::State& state, const std::string& form, int64_t rows, DType dtype, int threads) {
  CpuEngine engine(threads);
  const Call call = call_of(form, rows, dtype, engine.stream());
  const auto seconds = [&](const auto& set_of) {
    const int64_t begin = clock_ns(threads);
    for (size_t i = 0; i < kSets; ++i) call.run(set_of(i));
    return 1e-9 * static_cast<double>(clock_ns(threads) - begin) / kSets;
  };
  std::vector<double> cold, warm;
  for (auto _ : state) {
    cold.push_back(seconds([](size_t i) { return i; }));
    warm.push_back(seconds([](size_t) { return size_t{0}; }));
    state.SetIterationTime(cold.back());
  }
  const double gflop = 2e-9 * static_cast<double>(kExperts * rows * kIn * kOut);
  state.counters["GFLOP/s"] = gflop / median(cold);
  state.counters["fraction"] = median(warm) / median(cold);
  state.counters["peak_fraction"] = gflop / median(cold) / peak_gflops(threads);
  state.counters["memory_fraction"] =
      1e-9 * static_cast<double>(call.bytes) / median(cold) / copy_gigabytes(threads, 64 << 20);
}

const int registered = [] {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const char* form : {"forward", "backward_input", "backward_weight", "backward_weight_added"})
      for (int64_t rows : {16, 64, 256})
        for (int threads : thread_counts()) {
          const std::string name = str("experts_", form, "/", dtype, "/rows:", rows, "/threads:", threads);
          benchmark::RegisterBenchmark(
              name.c_str(), [=](benchmark::State& state) { measure(state, form, rows, dtype, threads); })
              ->UseManualTime()
              ->Iterations(9)
              ->Unit(benchmark::kMicrosecond);
        }
  return 0;
}();

}  // namespace
}  // namespace tessera::benchmarks
