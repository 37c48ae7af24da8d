#include "parallel/clock.h"

#include <cstring>
#include <limits>

#include "runtime/cpu_engine.h"

namespace tessera {
namespace {

constexpr int kTrials = 32;

/// The number that rank from passes, on rank to; elsewhere 0.
int64_t send(Communicator& world, Stream stream, int from, int to, int64_t number) {
  const auto size = static_cast<int64_t>(sizeof number);
  std::vector<int64_t> send_counts(static_cast<size_t>(world.size())), receive_counts = send_counts;
  if (world.rank() == from) send_counts[static_cast<size_t>(to)] = size;
  if (world.rank() == to) receive_counts[static_cast<size_t>(from)] = size;
  const Tensor out = Tensor::empty({world.rank() == from ? size : 0}, DType::u8, stream);
  Tensor in = Tensor::empty({world.rank() == to ? size : 0}, DType::u8, stream);
  if (out.count() > 0) std::memcpy(out.data<uint8_t>(), &number, sizeof number);
  in = world.all_to_all(out, send_counts, in, receive_counts, stream).wait(stream);
  int64_t received = 0;
  if (in.count() > 0) std::memcpy(&received, in.data<uint8_t>(), sizeof received);
  return received;
}

}  // namespace

ClockPoint compare_clocks(Communicator& world, const std::function<int64_t()>& now_ns) {
  CpuEngine engine(1, Isa::avx2);  // memory for the messages; nothing is computed
  const Stream stream = engine.stream();
  ClockPoint best{now_ns(), 0, 0};
  for (int rank = 1; rank < world.size(); ++rank) {
    if (rank == world.rank()) best.round_trip_ns = std::numeric_limits<int64_t>::max();
    for (int trial = 0; trial < kTrials; ++trial) {
      const int64_t asked = now_ns();
      send(world, stream, rank, 0, 0);
      const int64_t there = send(world, stream, 0, rank, now_ns());
      const int64_t answered = now_ns();
      if (rank != world.rank() || answered - asked >= best.round_trip_ns) continue;
      const int64_t middle = asked + (answered - asked) / 2;
      best = {middle, there - middle, answered - asked};
    }
  }
  return best;
}

}  // namespace tessera
