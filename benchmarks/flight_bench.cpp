// The flight recorder.
//   flight_record            one record into a mapped file
//     fraction               reading the clock once, which a record must, over the whole record

#include <benchmark/benchmark.h>

#include "benchmarks/machine_limits.h"
#include "runtime/flight_recorder.h"
#include "runtime/trace.h"
#include "tests/data/temporary_folder.h"

namespace tessera::benchmarks {
namespace {

constexpr int64_t kCalls = 10'000;

template <class Call>
double seconds_of(const Call& call) {
  const int64_t begin = clock_ns(1);
  for (int64_t i = 0; i < kCalls; ++i) call(i);
  return 1e-9 * static_cast<double>(clock_ns(1) - begin);
}

void flight_record(benchmark::State& state) {
  const TemporaryFolder folder;
  FlightRecorder recorder(0, 1, 4096, 1);
  recorder.persist(folder / "rank.ring");
  FlightCollective collective{.operation = FlightOperation::all_gather, .dtype = DType::f32, .group = 1};
  double recording = 0, reading = 0;
  for (auto _ : state) {
    reading += seconds_of([](int64_t) { benchmark::DoNotOptimize(Trace::now_ns()); });
    const double seconds = seconds_of([&](int64_t i) {
      collective.sequence = static_cast<uint64_t>(i);
      recorder.enter(collective, "gather blocks.3.attention");
    });
    recording += seconds;
    state.SetIterationTime(seconds / kCalls);
  }
  state.counters["fraction"] = reading / recording;
}
BENCHMARK(flight_record)->UseManualTime()->Iterations(50);

}  // namespace
}  // namespace tessera::benchmarks
