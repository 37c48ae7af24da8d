#include "benchmarks/machine_limits.h"

#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <thread>
#include <utility>

#include "runtime/isa.h"
#include "runtime/trace.h"

namespace tessera::benchmarks {
namespace {

constexpr int kTrials = 7;
constexpr int64_t kRounds = 1 << 20;

// 24 sums: two units of a latency of 4 or 5 cycles are never short of work.
__attribute__((target("avx512f"))) float fma_loop_avx512() {
  __m512 sums[24];
  for (auto& sum : sums) sum = _mm512_set1_ps(1.0f);
  const __m512 factor = _mm512_set1_ps(0.999f), term = _mm512_set1_ps(0.001f);
  for (int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 24
    for (auto& sum : sums) sum = _mm512_fmadd_ps(sum, factor, term);
  float total = 0;
  for (const auto& sum : sums) total += _mm512_cvtss_f32(sum);
  return total;
}
constexpr double kFlopsAvx512 = 2.0 * 16 * 24 * kRounds;

// 12 sums fit beside their operands into 16 registers.
float fma_loop_avx2() {
  __m256 sums[12];
  for (auto& sum : sums) sum = _mm256_set1_ps(1.0f);
  const __m256 factor = _mm256_set1_ps(0.999f), term = _mm256_set1_ps(0.001f);
  for (int64_t round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm256_fmadd_ps(sum, factor, term);
  float total = 0;
  for (const auto& sum : sums) total += _mm256_cvtss_f32(sum);
  return total;
}
constexpr double kFlopsAvx2 = 2.0 * 8 * 12 * kRounds;

/// The shortest time of one parallel execution of body(thread), in nanoseconds.
template <class Body>
double best_ns(ThreadPool& pool, const Body& body) {
  double best = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const int64_t begin = clock_ns(pool.threads());
    pool.run(pool.threads(), [&](int64_t thread, int) { body(thread); });
    const double ns = static_cast<double>(clock_ns(pool.threads()) - begin);
    best = trial == 0 ? ns : std::min(best, ns);
  }
  return best;
}

float sum_of(const float* values, int64_t count) {
  __m256 sums[8] = {};
  for (int64_t i = 0; i + 64 <= count; i += 64)
    for (int64_t j = 0; j < 8; ++j) sums[j] = _mm256_add_ps(sums[j], _mm256_loadu_ps(values + i + 8 * j));
  for (int64_t j = 1; j < 8; ++j) sums[0] = _mm256_add_ps(sums[0], sums[j]);
  return _mm256_cvtss_f32(sums[0]);
}

}  // namespace

int64_t clock_ns(int threads) {
  if (threads > 1) return Trace::now_ns();
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

double fma_gflops(ThreadPool& pool) {
  const bool wide = detect_isa() >= Isa::avx512;
  std::vector<float> totals(static_cast<size_t>(pool.threads()));
  const double ns = best_ns(pool, [&](int64_t thread) {
    totals[static_cast<size_t>(thread)] = wide ? fma_loop_avx512() : fma_loop_avx2();
  });
  return (wide ? kFlopsAvx512 : kFlopsAvx2) * pool.threads() / ns;
}

Bandwidth memory_bandwidth(ThreadPool& pool, int64_t bytes_per_array) {
  const int64_t share = bytes_per_array / static_cast<int64_t>(sizeof(float)) / pool.threads() / 64 * 64;
  const auto count = static_cast<size_t>(share * pool.threads());
  std::vector<float> a(count, 1.0f), b(count, 2.0f), c(count, 3.0f);
  std::vector<float> totals(static_cast<size_t>(pool.threads()));
  const double read = best_ns(pool, [&](int64_t thread) {
    totals[static_cast<size_t>(thread)] = sum_of(a.data() + thread * share, share);
  });
  const double copy = best_ns(pool, [&](int64_t thread) {
    std::memcpy(b.data() + thread * share, a.data() + thread * share,
                static_cast<size_t>(share) * sizeof(float));
  });
  const double triad = best_ns(pool, [&](int64_t thread) {
    float* const to = c.data() + thread * share;
    const float* const left = a.data() + thread * share;
    const float* const right = b.data() + thread * share;
    for (int64_t i = 0; i < share; ++i) to[i] = left[i] + 3.0f * right[i];
  });
  const double bytes = static_cast<double>(count) * sizeof(float);
  return {bytes / read, 2 * bytes / copy, 3 * bytes / triad};
}

double peak_gflops(int threads) {
  static std::map<int, double> measured;
  auto known = measured.find(threads);
  if (known == measured.end()) {
    ThreadPool pool(threads);
    known = measured.emplace(threads, fma_gflops(pool)).first;
  }
  return known->second;
}

double copy_gigabytes(int threads, int64_t bytes_per_array) {
  static std::map<std::pair<int, int64_t>, double> measured;
  auto known = measured.find({threads, bytes_per_array});
  if (known == measured.end()) {
    ThreadPool pool(threads);
    const double rate = memory_bandwidth(pool, bytes_per_array).copy;
    known = measured.emplace(std::pair{threads, bytes_per_array}, rate).first;
  }
  return known->second;
}

std::vector<int> thread_counts() {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return cores == 1 ? std::vector{1} : std::vector{1, cores};
}

}  // namespace tessera::benchmarks
