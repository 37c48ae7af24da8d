// Micro-batches from shards on disk (in the page cache), packed into tensors.
//   read_batch    on the calling thread; fraction: bytes of the batch written per second over those of a copy
//   loader_next   through the loader's own thread, to a consumer that does nothing else; on the wall

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "benchmarks/machine_limits.h"
#include "benchmarks/median.h"
#include "data/loader.h"
#include "data/synthetic.h"
#include "runtime/cpu_engine.h"
#include "tests/data/temporary_folder.h"

namespace tessera::benchmarks {
namespace {

constexpr int kBatches = 200;

int64_t bytes_of(const Batch& batch) {
  int64_t bytes = batch.tokens.bytes() + batch.targets.bytes() + batch.positions.bytes();
  for (const ModalityRows& rows : batch.rows) bytes += rows.index.bytes();
  return bytes;
}

/// Units of 512 tokens, half of them of images.
void write_data(const std::string& folder) {
  write_synthetic_dataset(
      folder, 1,
      {.length = 512, .codes_per_image = 59, .images_per_unit = 4, .image_codes = 512, .text_pieces = 1530});
}

void read(benchmark::State& state, int64_t units) {
  const TemporaryFolder folder;
  write_data(folder / "tokens");
  CpuEngine engine(1);
  const LoaderConfig config{.micro_batches = 1, .mixed_units = units};
  const Loader loader(TokenDataset(folder / "tokens", "train"), config, 1, engine.stream());
  std::vector<double> seconds;
  int64_t bytes = 0, tokens = 0, step = 0;
  for (auto _ : state) {
    const int64_t begin = clock_ns(1);
    const Batch batch =
        read_batch(loader.dataset(), loader.sampler().micro_batch(step++, 0), false, engine.stream());
    seconds.push_back(1e-9 * static_cast<double>(clock_ns(1) - begin));
    state.SetIterationTime(seconds.back());
    bytes = bytes_of(batch);
    tokens = batch.tokens.count();
  }
  state.counters["tokens_per_second"] = static_cast<double>(tokens) / median(seconds);
  const double written = 1e-9 * static_cast<double>(bytes) / median(seconds);
  state.counters["fraction"] = written / (copy_gigabytes(1, bytes) / 2);
}

void load(benchmark::State& state, int64_t units) {
  const TemporaryFolder folder;
  write_data(folder / "tokens");
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
  for (const int64_t units : {1, 4, 16}) {
    benchmark::RegisterBenchmark(str("read_batch/units:", units).c_str(),
                                 [=](benchmark::State& state) { read(state, units); })
        ->UseManualTime()
        ->Iterations(kBatches)
        ->Unit(benchmark::kMicrosecond);
    benchmark::RegisterBenchmark(str("loader_next/units:", units).c_str(),
                                 [=](benchmark::State& state) { load(state, units); })
        ->UseManualTime()
        ->Iterations(kBatches)
        ->Unit(benchmark::kMicrosecond);
  }
  return 0;
}();

}  // namespace
}  // namespace tessera::benchmarks
