#include "parallel/clock.h"

#include <array>
#include <bit>
#include <limits>

namespace tessera {
namespace {

constexpr int kTrials = 32;

/// The number that rank from passes, on rank to; elsewhere 0.
int64_t send(Communicator& world, int from, int to, int64_t number) {
  using Bytes = std::array<uint8_t, sizeof number>;
  constexpr int64_t size = sizeof number;
  std::vector<int64_t> send_counts(static_cast<size_t>(world.size())), receive_counts = send_counts;
  if (world.rank() == from) send_counts[static_cast<size_t>(to)] = size;
  if (world.rank() == to) receive_counts[static_cast<size_t>(from)] = size;
  Bytes sent = std::bit_cast<Bytes>(number), received{};
  const Tensor out = Tensor::over(std::span<uint8_t>(sent)).slice(0, {world.rank() == from ? size : 0}),
               in = Tensor::over(std::span<uint8_t>(received)).slice(0, {world.rank() == to ? size : 0});
  static_cast<void>(world.all_to_all(out, send_counts, in, receive_counts, in.stream()).wait(in.stream()));
  return std::bit_cast<int64_t>(received);
}

}  // namespace

ClockPoint compare_clocks(Communicator& world, const std::function<int64_t()>& now_ns) {
  ClockPoint best{now_ns(), 0, 0};
  for (int rank = 1; rank < world.size(); ++rank) {
    if (rank == world.rank()) best.round_trip_ns = std::numeric_limits<int64_t>::max();
    for (int trial = 0; trial < kTrials; ++trial) {
      const int64_t asked = now_ns();
      send(world, rank, 0, 0);
      const int64_t there = send(world, 0, rank, now_ns());
      const int64_t answered = now_ns();
      if (rank != world.rank() || answered - asked >= best.round_trip_ns) continue;
      const int64_t middle = asked + (answered - asked) / 2;
      best = {middle, there - middle, answered - asked};
    }
  }
  return best;
}

}  // namespace tessera
