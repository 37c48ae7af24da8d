// Barriers of a block: bar.sync, bar.arrive, bar.red.  PTX ISA 9.0, section 9.7.13.1.

#include <string>

#include "tests/simulated_gpu/device/lanes.h"

namespace simulated_gpu {
namespace {

uint32_t live_threads(const ThreadBlock& block) { return block.threads - block.exited; }

void violate(Warp& warp, const Step& step, uint32_t lanes, const std::string& text) {
  warp.block->observer.violates(*step.instruction, "barrier", text, warp.index, lanes);
}

/// What the hardware tolerates but well-formed kernels do not do: threads missing because they have exited,
/// threads that meet although they stand at different instructions.
void check_participants(ThreadBlock& block, const Barrier& barrier) {
  const Step& step = *barrier.first;
  if (barrier.threads != 0) return;  // producers and consumers of a counted barrier stand at different places
  if (block.exited != 0) {
    violate(block.warps[0], step, 0,
            std::to_string(barrier.arrived) + " of " + std::to_string(block.threads) +
                " threads meet here; the others have exited");
  }
  const int position = step.instruction->index;
  for (Warp& warp : block.warps) {
    const uint32_t waiting = barrier.waiting[static_cast<size_t>(warp.index)];
    const uint32_t elsewhere =
        waiting & lanes_where([&](uint32_t lane) { return warp.pc[lane] != position; });
    if (elsewhere == 0) continue;
    const auto lane = static_cast<uint32_t>(__builtin_ctz(elsewhere));
    const Step& other = block.program->steps[static_cast<size_t>(warp.pc[lane])];
    violate(warp, step, elsewhere,
            "some threads wait here, others at '" + other.instruction->text + "' (line " +
                std::to_string(other.instruction->line) + ")");
    return;
  }
}

void deliver_reduction(Warp& warp, const Barrier& barrier, uint32_t lanes) {
  for_lanes_in_turn(lanes, [&](uint32_t lane) {
    const Step& step = warp.block->program->steps[static_cast<size_t>(warp.pc[lane])];
    switch (step.barrier) {
      case BarrierKind::red_popc:
        warp.lanes<uint32_t>(step.destination)[lane] = barrier.true_count;
        break;
      case BarrierKind::red_and:
        warp.set_predicate(step.destination, barrier.true_count == barrier.arrived ? ~0u : 0, 1u << lane);
        break;
      case BarrierKind::red_or:
        warp.set_predicate(step.destination, barrier.true_count != 0 ? ~0u : 0, 1u << lane);
        break;
      default:
        break;
    }
  });
}

void release(ThreadBlock& block, Barrier& barrier) {
  check_participants(block, barrier);
  std::vector<uint32_t> participants(block.warps.size());
  for (size_t index = 0; index < participants.size(); ++index) {
    participants[index] = barrier.waiting[index] | barrier.arrivals[index];
  }
  block.observer.barrier_passes(*barrier.first->instruction, participants);
  for (size_t index = 0; index < participants.size(); ++index) {
    Warp& warp = block.warps[index];
    deliver_reduction(warp, barrier, barrier.waiting[index]);
    advance(warp, barrier.waiting[index]);
    warp.in_barrier &= ~barrier.waiting[index];
  }
  barrier = {};
}

bool is_complete(const ThreadBlock& block, const Barrier& barrier) {
  if (barrier.first == nullptr) return false;
  return barrier.arrived >= (barrier.threads != 0 ? barrier.threads : live_threads(block));
}

void open(Barrier& barrier, const ThreadBlock& block, const Step& step, uint32_t threads) {
  barrier.first = &step;
  barrier.threads = threads;
  barrier.waiting.assign(block.warps.size(), 0);
  barrier.arrivals.assign(block.warps.size(), 0);
}

/// All lanes name the same barrier and the same number of threads.
void arrive_at(Warp& warp, const Step& step, uint32_t lanes, uint32_t number, uint32_t threads) {
  ThreadBlock& block = *warp.block;
  if (number >= kBarriers) throw Trapped("barrier " + std::to_string(number) + " does not exist");
  Barrier& barrier = block.barriers[number];
  if (threads % 32 != 0) violate(warp, step, lanes, "the number of threads is not a multiple of 32");
  if (barrier.first == nullptr) open(barrier, block, step, threads);
  if (barrier.threads != threads) {
    violate(warp, step, lanes,
            "waits for " + std::to_string(threads) + " threads, others for " +
                std::to_string(barrier.threads) + " (0: the block)");
  }
  const auto index = static_cast<size_t>(warp.index);
  if ((barrier.arrivals[index] & lanes) != 0)
    violate(warp, step, lanes, "a thread arrives twice before the barrier opens");
  barrier.arrived += static_cast<uint32_t>(__builtin_popcount(lanes));
  if (threads != 0 && barrier.arrived > threads)
    violate(warp, step, lanes, "more threads arrive than the barrier waits for");
  if (step.barrier == BarrierKind::arrive) {
    barrier.arrivals[index] |= lanes;
    advance(warp, lanes);
  } else {
    barrier.waiting[index] |= lanes;
    warp.in_barrier |= lanes;
    if (step.barrier != BarrierKind::sync) {
      barrier.true_count +=
          static_cast<uint32_t>(__builtin_popcount(warp.predicate(step.sources[2]) & lanes));
    }
  }
  if (is_complete(block, barrier)) release(block, barrier);
}

}  // namespace

void arrive(Warp& warp, const Step& step, uint32_t lanes) {
  const uint32_t* numbers = warp.lanes<uint32_t>(step.sources[0]);
  const uint32_t* counts = step.has_thread_count ? warp.lanes<uint32_t>(step.sources[1]) : nullptr;
  while (lanes != 0) {
    const auto first = static_cast<uint32_t>(__builtin_ctz(lanes));
    const uint32_t number = numbers[first], count = counts != nullptr ? counts[first] : 0;
    const uint32_t alike = lanes & lanes_where([&](uint32_t lane) {
                             return numbers[lane] == number && (counts == nullptr || counts[lane] == count);
                           });
    lanes &= ~alike;
    arrive_at(warp, step, alike, number, count);
  }
}

void release_barriers(ThreadBlock& block) {
  for (Barrier& barrier : block.barriers) {
    if (is_complete(block, barrier)) release(block, barrier);
  }
}

}  // namespace simulated_gpu
