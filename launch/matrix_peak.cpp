#include "launch/matrix_peak.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "autograd/functions.h"
#include "runtime/cpu_engine.h"
#include "runtime/random.h"
#include "runtime/stream.h"

namespace tessera {
namespace {

constexpr int64_t kSize = 1024;
constexpr double kSeconds = 0.2;

/// Not zeros: processors are faster on operands whose bits do not change.
Tensor random_matrix(uint64_t seed, Stream stream) {
  std::vector<float> values(kSize * kSize);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(random_uniform(seed, Purpose("matrix peak"), i)) - 0.5f;
  return Tensor::from(values, {kSize, kSize}, stream);
}

}  // namespace

double measure_matrix_peak(Stream stream, DType dtype) {
  std::optional<CpuEngine> own;  // whose memory goes again, so that the stream's is that of training alone
  if (stream.device.backend == Backend::cpu) {
    const CpuEngine& engine = engine_of(stream);
    stream = own.emplace(engine.pool.threads(), engine.isa).stream();
  }
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  const Var a = cast(random_matrix(1, stream), dtype), b = cast(random_matrix(2, stream), dtype);
  matmul(a, b);  // makes its buffers
  synchronize(stream);
  double best = 0;
  const Clock::time_point begin = Clock::now();
  do {
    const Clock::time_point once = Clock::now();
    matmul(a, b);
    synchronize(stream);
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds_since(once));
  } while (seconds_since(begin) < kSeconds);
  return best;
}

}  // namespace tessera
