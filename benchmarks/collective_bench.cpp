// What the parallel layer moves between ranks of this process, one compute thread each, against memory.
//   GB/s       bytes that all ranks read and write per second
//   fraction   of the rate at which as many threads (at most one a core) copy arrays of the same total size

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "benchmarks/machine_limits.h"
#include "benchmarks/median.h"
#include "parallel/canonical_sum.h"
#include "parallel/communicator.h"
#include "runtime/cpu_engine.h"

namespace tessera::benchmarks {
namespace {

constexpr int kWarmUps = 2, kRounds = 9;

using Collective = std::function<void()>;
using Make = std::function<Collective(Communicator&, Stream, int64_t share)>;

/// Seconds of one call on all ranks, from a barrier to a barrier.
double seconds_of(const Make& make, int ranks, int64_t share) {
  std::vector<double> seconds;
  run_ranks(ranks, [&](Communicator& world) {
    CpuEngine engine(1);
    const Collective collective = make(world, engine.stream(), share);
    for (int round = -kWarmUps; round < kRounds; ++round) {
      world.barrier();
      const int64_t begin = Trace::now_ns();
      collective();
      world.barrier();
      if (world.rank() == 0 && round >= 0)
        seconds.push_back(1e-9 * static_cast<double>(Trace::now_ns() - begin));
    }
  });
  return median(seconds);
}

/// part [share] of every rank -> [ranks share] on every rank.
Collective gather(Communicator& world, Stream stream, int64_t share) {
  const Tensor part = Tensor::zeros({share}, DType::f32, stream);
  const Tensor whole = Tensor::zeros({share * world.size()}, DType::f32, stream);
  return [=, &world] { world.all_gather(part, whole, stream).wait(stream); };
}

/// [ranks share] of every rank -> the share of this rank from each.
Collective exchange(Communicator& world, Stream stream, int64_t share) {
  const Tensor send = Tensor::zeros({share * world.size()}, DType::f32, stream);
  const Tensor receive = Tensor::like(send);
  const std::vector<int64_t> counts(static_cast<size_t>(world.size()), share);
  return [=, &world] { world.all_to_all(send, counts, receive, counts, stream).wait(stream); };
}

void measure(benchmark::State& state, const Make& make, int ranks, int64_t bytes) {
  const int64_t share = bytes / static_cast<int64_t>(sizeof(float)) / ranks;
  double seconds = 0;
  for (auto _ : state) state.SetIterationTime(seconds = seconds_of(make, ranks, share));
  const double moved = 2.0 * static_cast<double>(bytes) * ranks;
  const int threads = std::min(ranks, thread_counts().back());
  state.counters["GB/s"] = 1e-9 * moved / seconds;
  state.counters["fraction"] = 1e-9 * moved / seconds / copy_gigabytes(threads, bytes * ranks);
}

/// The sum over leaves of one rank, each a tensor of its own.
void canonical_sum(benchmark::State& state, int64_t leaves, int64_t bytes) {
  CpuEngine engine(1);
  const Shape shape{bytes / static_cast<int64_t>(sizeof(float))};
  double best = 1e30;
  for (auto _ : state) {
    CanonicalSum<Tensor> sum;
    double seconds = 0;
    for (int64_t leaf = 0; leaf < leaves; ++leaf) {
      Tensor gradient = Tensor::zeros(shape, DType::f32, engine.stream());
      const int64_t begin = Trace::now_ns();
      sum.push(std::move(gradient));
      seconds += 1e-9 * static_cast<double>(Trace::now_ns() - begin);
    }
    state.SetIterationTime(seconds);
    best = std::min(best, seconds);
  }
  const double moved = 3.0 * static_cast<double>(bytes * (leaves - 1));
  state.counters["GB/s"] = 1e-9 * moved / best;
  state.counters["fraction"] = 1e-9 * moved / best / copy_gigabytes(1, bytes);
}

const int registered = [] {
  for (const int64_t mebibytes : {1, 64}) {
    const int64_t bytes = mebibytes << 20;
    for (const auto& [name, make] :
         {std::pair{"all_gather", Make(gather)}, std::pair{"all_to_all", Make(exchange)}})
      for (const int ranks : {1, 2, 4}) {
        const std::string full = str(name, "/MiB:", mebibytes, "/ranks:", ranks);
        benchmark::RegisterBenchmark(full.c_str(),
                                     [=](benchmark::State& state) { measure(state, make, ranks, bytes); })
            ->UseManualTime()
            ->Iterations(1)
            ->Unit(benchmark::kMillisecond);
      }
    benchmark::RegisterBenchmark(str("canonical_sum/MiB:", mebibytes, "/leaves:4").c_str(),
                                 [=](benchmark::State& state) { canonical_sum(state, 4, bytes); })
        ->UseManualTime()
        ->Iterations(9)
        ->Unit(benchmark::kMillisecond);
  }
  return 0;
}();

}  // namespace
}  // namespace tessera::benchmarks
