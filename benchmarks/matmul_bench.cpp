// Matrix products against oneDNN and OpenBLAS on the same operands, in turns.
//   fraction       our rate over that of the better library
//   peak_fraction  our rate over the processor's multiply-add peak, measured at start

#include <benchmark/benchmark.h>

#include <string>

#include "benchmarks/machine_limits.h"
#include "benchmarks/matmul_race.h"

namespace tessera::benchmarks {
namespace {

void race(benchmark::State& state, const ProductCase& product) {
  const double peak = peak_gflops(product.threads);
  MatmulRace contest(product);
  for (auto _ : state) state.SetIterationTime(contest.round());
  state.counters["GFLOP/s"] = contest.ours();
  state.counters["onednn"] = contest.onednn();
  state.counters["openblas"] = contest.openblas();
  state.counters["fraction"] = contest.ours() / contest.best_library();
  state.counters["peak_fraction"] = contest.ours() / peak;
}

struct Sizes {
  int64_t rows, in, out;
};
// Linear layers of models 256 to 1024 wide; then the rows of one expert; then a vocabulary.
constexpr Sizes kSizes[] = {
    {2048, 256, 256},  {2048, 256, 1024}, {2048, 512, 512}, {2048, 1024, 1024}, {2048, 4096, 512},
    {4096, 512, 1024}, {32, 512, 1408},   {256, 256, 704},  {256, 704, 256},    {512, 512, 8192},
};

const int registered = [] {
  for (DType dtype : {DType::f32, DType::bf16})
    for (auto [form, form_name] : {std::pair{ProductForm::forward, "forward"},
                                   std::pair{ProductForm::backward_input, "backward_input"},
                                   std::pair{ProductForm::backward_weight, "backward_weight"}})
      for (const Sizes& sizes : kSizes)
        for (int threads : thread_counts()) {
          const ProductCase product{form, sizes.rows, sizes.in, sizes.out, dtype, threads};
          const std::string name = str("matmul_", form_name, "/", dtype, "/rows:", sizes.rows,
                                       "/in:", sizes.in, "/out:", sizes.out, "/threads:", threads);
          benchmark::RegisterBenchmark(name.c_str(),
                                       [product](benchmark::State& state) { race(state, product); })
              ->UseManualTime()
              ->Iterations(3)
              ->Unit(benchmark::kMillisecond);
        }
  return 0;
}();

}  // namespace
}  // namespace tessera::benchmarks
