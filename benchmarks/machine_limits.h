#pragma once
// What this machine can do at most, measured in the process that wants to know: shared machines change by the
// minute, so a benchmark reports ratios to limits of the same run and never compares numbers of two runs.

#include <cstdint>
#include <vector>

#include "runtime/thread_pool.h"

namespace tessera::benchmarks {

/// Nanoseconds on the clock that suits a number of threads: of one, the time the caller spent on a core, since other
/// programs may want the cores too; of several, the time on the wall, since they wait for each other.
int64_t clock_ns(int threads);

/// Fused multiply-adds of f32 from registers, at the widest level of the processor; GFLOP/s of all threads,
/// best of several trials.
double fma_gflops(ThreadPool& pool);

/// GB/s of all threads, best of several passes over arrays of the given size, counted as STREAM does: bytes
/// that the program reads and writes, without the reads that a write may cause.
struct Bandwidth {
  double read, copy, triad;
};
Bandwidth memory_bandwidth(ThreadPool& pool, int64_t bytes_per_array);

/// The same for a pool of so many threads, measured when first asked for.
double peak_gflops(int threads);
double copy_gigabytes(int threads, int64_t bytes_per_array);

/// 1 and, where there are more, the number of cores.
std::vector<int> thread_counts();

}  // namespace tessera::benchmarks
