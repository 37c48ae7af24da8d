// Units and micro-batches from shards in the page cache.
//   loader_race   fractions of the rate of pread for the same units in the same order (loader_race.h)
//   loader_next   through the loader's own thread, to a consumer that does nothing else; on the wall

#include <benchmark/benchmark.h>

#include "benchmarks/loader_race.h"
#include "data/synthetic.h"
#include "runtime/cpu_engine.h"
#include "runtime/trace.h"

namespace tessera::benchmarks {
namespace {

constexpr int kRounds = 5, kBatches = 200;

void race(benchmark::State& state, int64_t length) {
  LoaderRace race(length);
  for (auto _ : state) {
    race.round();
    race.cold_round();
  }
  state.counters["raw_GB_per_second"] = race.raw_gigabytes();
  state.counters["library_fraction"] = race.library_fraction();
  state.counters["read_fraction"] = race.read_fraction();
  state.counters["batch_fraction"] = race.batch_fraction();
  state.counters["cold_fraction"] = race.cold_fraction();
}

void load(benchmark::State& state, int64_t units) {
  const TemporaryFolder folder;
  write_synthetic_dataset(
      folder / "tokens", 1,
      {.length = 512, .codes_per_image = 59, .images_per_unit = 4, .image_codes = 512, .text_pieces = 1530});
  CpuEngine engine(1);
  const LoaderConfig config{.micro_batches = 1, .mixed_units = units};
  Loader loader(TokenDataset(folder / "tokens", "train"), config, 1, engine.stream());
  loader.start(0, {0, 1, 1});
  int64_t tokens = 0;
  const int64_t begin = Trace::now_ns();
  for (auto _ : state) {
    const int64_t asked = Trace::now_ns();
    tokens += loader.next().tokens.count();
    state.SetIterationTime(1e-9 * static_cast<double>(Trace::now_ns() - asked));
  }
  state.counters["tokens_per_second"] =
      1e9 * static_cast<double>(tokens) / static_cast<double>(Trace::now_ns() - begin);
}

const int registered = [] {
  for (const int64_t length : {512, 4096})
    benchmark::RegisterBenchmark(str("loader_race/length:", length).c_str(),
                                 [=](benchmark::State& state) { race(state, length); })
        ->Iterations(kRounds)
        ->Unit(benchmark::kMillisecond);
  for (const int64_t units : {1, 4, 16})
    benchmark::RegisterBenchmark(str("loader_next/units:", units).c_str(),
                                 [=](benchmark::State& state) { load(state, units); })
        ->UseManualTime()
        ->Iterations(kBatches)
        ->Unit(benchmark::kMicrosecond);
  return 0;
}();

}  // namespace
}  // namespace tessera::benchmarks
