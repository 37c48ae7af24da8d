// Which lanes of which warp go next, and how they move through the program.
//
// Lanes have a program counter each.  Those that stand at the lowest one go together until they meet another
// group, wait or part; this brings lanes together again behind a branch without knowing where its paths
// join.  With independent lanes a random group goes, and only a random part of it.

#include <algorithm>
#include <limits>
#include <sstream>
#include <string>

#include "tests/simulated_gpu/device/lanes.h"

namespace simulated_gpu {
namespace {

constexpr int kEnd = std::numeric_limits<int>::max();

struct Group {
  int pc = kEnd;
  uint32_t lanes = 0;
  int limit = kEnd;  ///< the lowest program counter of other lanes
};

uint32_t lanes_at(const Warp& warp, int pc, uint32_t among) {
  return among & lanes_where([&](uint32_t lane) { return warp.pc[lane] == pc; });
}

Group lowest_group(const Warp& warp) {
  const uint32_t runnable = warp.runnable();
  Group group;
  for_lanes_in_turn(runnable, [&](uint32_t lane) { group.pc = std::min(group.pc, warp.pc[lane]); });
  group.lanes = lanes_at(warp, group.pc, runnable);
  const uint32_t others = runnable & ~group.lanes;
  for_lanes_in_turn(others, [&](uint32_t lane) { group.limit = std::min(group.limit, warp.pc[lane]); });
  return group;
}

/// A non-empty random part of the lanes that stand where a random lane stands.
Group random_group(Warp& warp) {
  const uint32_t runnable = warp.runnable();
  auto skip = warp.block->random() % static_cast<uint64_t>(__builtin_popcount(runnable));
  uint32_t rest = runnable;
  for (; skip > 0; --skip) rest &= rest - 1;
  const auto chosen = static_cast<uint32_t>(__builtin_ctz(rest));
  Group group{warp.pc[chosen], 0, kEnd};
  group.lanes =
      (lanes_at(warp, group.pc, runnable) & static_cast<uint32_t>(warp.block->random())) | 1u << chosen;
  return group;
}

void place(Warp& warp, uint32_t lanes, int pc) {
  for_lanes(lanes, [&](uint32_t lane) { warp.pc[lane] = pc; });
}

/// Performs the collective step at `pc` for `lanes`, which are all that its mask waits for.
void perform(Warp& warp, const Step& step, uint32_t lanes, uint32_t wanted) {
  if (const uint32_t missing = wanted & ~warp.live(); missing != 0) {
    const bool have_exited = (missing & warp.exited) != 0;
    warp.block->observer.violates(
        *step.instruction, "mask",
        have_exited ? "the mask names lanes that have exited" : "the mask names lanes that do not exist",
        warp.index, missing);
  }
  step.handler(warp, step, lanes);
}

/// What a lane gave as the mask of a collective step, with its own bit, which must be in it.
uint32_t wanted_by(Warp& warp, const Step& step, uint32_t lane) {
  if (step.mask_source < 0) return kAllLanes;
  const uint32_t mask = warp.lanes<uint32_t>(step.sources[step.mask_source])[lane];
  if ((mask >> lane & 1) == 0) {
    warp.block->observer.violates(*step.instruction, "mask", "the lane is not in its own mask", warp.index,
                                  1u << lane);
  }
  return mask | 1u << lane;
}

/// Lets waiting lanes go whose masks are complete: all that live stand at one collective step with one mask.
void complete_collectives(Warp& warp) {
  for (uint32_t rest = warp.in_collective; rest != 0;) {
    const auto first = static_cast<uint32_t>(__builtin_ctz(rest));
    const uint32_t wanted = warp.collective_mask[first];
    const uint32_t here = warp.in_collective & lanes_where([&](uint32_t lane) {
                            return warp.pc[lane] == warp.pc[first] && warp.collective_mask[lane] == wanted;
                          });
    rest &= ~here;
    if ((wanted & warp.live() & ~here) != 0) continue;
    perform(warp, warp.block->program->steps[static_cast<size_t>(warp.pc[first])], here, wanted);
    warp.in_collective &= ~here;
    advance(warp, here);
  }
}

/// True when the lanes performed the step at once; otherwise they wait or have gone on.
bool meet(Warp& warp, const Step& step, uint32_t lanes) {
  const auto first = static_cast<uint32_t>(__builtin_ctz(lanes));
  const uint32_t wanted = wanted_by(warp, step, first);
  if ((wanted & warp.live()) == lanes && step.mask_source < 0) {
    perform(warp, step, lanes, wanted);
    return true;
  }
  bool is_uniform = true;
  for_lanes_in_turn(lanes, [&](uint32_t lane) {
    warp.collective_mask[lane] = lane == first ? wanted : wanted_by(warp, step, lane);
    is_uniform &= warp.collective_mask[lane] == wanted;
  });
  if (is_uniform && (wanted & warp.live()) == lanes) {
    perform(warp, step, lanes, wanted);
    return true;
  }
  warp.in_collective |= lanes;
  complete_collectives(warp);
  return false;
}

void exit_lanes(Warp& warp, uint32_t lanes) {
  warp.exited |= lanes;
  warp.block->exited += static_cast<uint32_t>(__builtin_popcount(lanes));
  if (warp.in_collective != 0) complete_collectives(warp);
  release_barriers(*warp.block);
}

void copy_in_frame(Warp& warp, uint32_t lane, const std::vector<ptx::FrameCopy>& copies) {
  std::byte* frame = warp.frame.data() + lane * (warp.frame.size() / 32);
  for (const ptx::FrameCopy& copy : copies) std::memmove(frame + copy.to, frame + copy.from, copy.bytes);
}

void enter_function(Warp& warp, const Step& step, uint32_t lanes) {
  uint32_t* return_position = warp.lanes<uint32_t>(step.destination);
  for_lanes_in_turn(lanes, [&](uint32_t lane) {
    return_position[lane] = static_cast<uint32_t>(step.instruction->index + 1);
    copy_in_frame(warp, lane, step.instruction->argument_copies);
    warp.pc[lane] = step.target;
  });
}

void leave_function(Warp& warp, const Step& step, uint32_t lanes) {
  const uint32_t* return_position = warp.lanes<uint32_t>(step.destination);
  for_lanes_in_turn(lanes, [&](uint32_t lane) {
    const Step& call = warp.block->program->steps[return_position[lane] - 1];
    copy_in_frame(warp, lane, call.instruction->result_copies);
    warp.pc[lane] = static_cast<int>(return_position[lane]);
  });
}

void jump_indexed(Warp& warp, const Step& step, uint32_t lanes) {
  const uint32_t* index = warp.lanes<uint32_t>(step.sources[0]);
  for_lanes_in_turn(lanes, [&](uint32_t lane) {
    if (index[lane] >= step.instruction->targets.size()) throw Trapped("brx.idx beyond its table");
    warp.pc[lane] = step.instruction->targets[index[lane]];
  });
}

/// Lets a step that is not straight happen for `active` of `lanes`, which all stand at it; the program
/// counters of all are stored.  Returns false when the lanes may no longer stand together.
bool redirect(Warp& warp, const Step& step, uint32_t lanes, uint32_t active) {
  const int next = step.instruction->index + 1;
  place(warp, lanes & ~active, next);
  if (step.flow == Flow::branch) {
    if (step.has_guard) warp.block->observer.branches(*step.instruction, active, lanes & ~active);
    place(warp, active, step.target);
    return active == 0 || active == lanes;
  }
  if (active == 0) return true;
  place(warp, active, step.instruction->index);
  switch (step.flow) {
    case Flow::collective:
      if (!meet(warp, step, active)) return false;
      place(warp, active, next);
      return true;
    case Flow::call:
      enter_function(warp, step, active);
      return active == lanes;
    case Flow::barrier:
      arrive(warp, step, active);
      return false;
    case Flow::exit:
      exit_lanes(warp, active);
      return false;
    case Flow::ret:
      leave_function(warp, step, active);
      return false;
    default:
      jump_indexed(warp, step, active);
      return false;
  }
}

/// Executes one group until it meets others, parts, waits, or has used up the quantum.
void run_group(Warp& warp, const Group& group, int& quantum) {
  ThreadBlock& block = *warp.block;
  const Step* steps = block.program->steps.data();
  const auto lead = static_cast<uint32_t>(__builtin_ctz(group.lanes));
  int pc = group.pc;
  do {
    const Step& step = steps[pc];
    uint32_t active = group.lanes;
    if (step.has_guard) {
      const uint32_t guard = *warp.lanes<uint32_t>(step.guard);
      active &= step.is_guard_negated ? ~guard : guard;
    }
    ++block.clock;
    --quantum;
    const uint32_t executing = step.flow == Flow::branch ? group.lanes : active;
    if (executing != 0) block.observer.executes(*step.instruction, warp.index, executing);
    if (step.flow == Flow::straight) {
      if (active != 0) step.handler(warp, step, active);
      ++pc;
    } else {
      if (!redirect(warp, step, group.lanes, active)) return;
      pc = warp.pc[lead];
    }
  } while (pc < group.limit && quantum > 0);
  place(warp, group.lanes, pc);
}

void run_warp(Warp& warp) {
  ThreadBlock& block = *warp.block;
  int quantum = 20 + static_cast<int>(block.random() % 61);
  while (quantum > 0 && warp.runnable() != 0) {
    if (!block.schedule.independent_lanes) {
      run_group(warp, lowest_group(warp), quantum);
      continue;
    }
    int part = 1 + static_cast<int>(block.random() % 4);
    quantum -= part;
    run_group(warp, random_group(warp), part);
  }
}

std::string hex(uint32_t mask) {
  std::ostringstream stream;
  stream << "0x" << std::hex << mask;
  return stream.str();
}

/// One sentence for each group of lanes that waits.
Outcome report_deadlock(ThreadBlock& block) {
  Outcome outcome{Outcome::Kind::deadlocked, {}};
  for (Warp& warp : block.warps) {
    for (uint32_t rest = warp.live(); rest != 0;) {
      const auto first = static_cast<uint32_t>(__builtin_ctz(rest));
      const uint32_t here = lanes_at(warp, warp.pc[first], rest);
      rest &= ~here;
      const Step& step = block.program->steps[static_cast<size_t>(warp.pc[first])];
      std::string text = "lanes " + hex(here) + " of warp " + std::to_string(warp.index);
      if ((warp.in_collective >> first & 1) != 0) {
        text += " wait for lanes " + hex(warp.collective_mask[first]) + " to come to the same instruction";
      } else {
        text += " wait at a barrier for threads that never come";
      }
      block.observer.violates(*step.instruction, "deadlock", text, warp.index, here);
      if (!outcome.text.empty()) outcome.text += "; ";
      outcome.text +=
          text + ": '" + step.instruction->text + "' (line " + std::to_string(step.instruction->line) + ")";
    }
  }
  return outcome;
}

}  // namespace

void advance(Warp& warp, uint32_t lanes) {
  for_lanes(lanes, [&](uint32_t lane) { ++warp.pc[lane]; });
}

Outcome run_block(ThreadBlock& block) {
  std::vector<size_t> order(block.warps.size());
  for (size_t index = 0; index < order.size(); ++index) order[index] = index;
  const uint64_t begin = block.clock;
  while (block.exited < block.threads) {
    std::ranges::shuffle(order, block.random);
    bool has_run = false;
    for (const size_t index : order) {
      if (block.warps[index].runnable() == 0) continue;
      run_warp(block.warps[index]);
      has_run = true;
    }
    if (!has_run) return report_deadlock(block);
    if (block.clock - begin > block.schedule.most_instructions) {
      throw Trapped("a block does not end: it waits for what another block or lane would have to do");
    }
  }
  return {};
}

}  // namespace simulated_gpu
