#include "tests/simulated_gpu/device/execute.h"

#include <algorithm>
#include <numeric>

#include "tests/simulated_gpu/device/lanes.h"

namespace simulated_gpu {
namespace {

uint32_t product(const uint32_t (&extent)[3]) { return extent[0] * extent[1] * extent[2]; }

constexpr size_t kCacheLine = 64;

std::byte* aligned(std::vector<uint64_t>& storage) {
  const auto address = reinterpret_cast<uintptr_t>(storage.data());
  return reinterpret_cast<std::byte*>((address + kCacheLine - 1) / kCacheLine * kCacheLine);
}

uint32_t special_value(const Warp& warp, ptx::Special special, uint32_t lane) {
  using S = ptx::Special;
  const ThreadBlock& block = *warp.block;
  const Launch& launch = block.launch;
  const uint32_t thread = static_cast<uint32_t>(warp.index) * 32 + lane, bit = 1u << lane;
  switch (special) {
    case S::tid_x:
      return thread % launch.block[0];
    case S::tid_y:
      return thread / launch.block[0] % launch.block[1];
    case S::tid_z:
      return thread / launch.block[0] / launch.block[1];
    case S::ntid_x:
      return launch.block[0];
    case S::ntid_y:
      return launch.block[1];
    case S::ntid_z:
      return launch.block[2];
    case S::ctaid_x:
      return block.index[0];
    case S::ctaid_y:
      return block.index[1];
    case S::ctaid_z:
      return block.index[2];
    case S::nctaid_x:
      return launch.grid[0];
    case S::nctaid_y:
      return launch.grid[1];
    case S::nctaid_z:
      return launch.grid[2];
    case S::laneid:
      return lane;
    case S::warpid:
      return static_cast<uint32_t>(warp.index);
    case S::nwarpid:
      return static_cast<uint32_t>(block.warps.size());
    case S::smid:
      return 0;
    case S::nsmid:
      return 1;
    case S::lanemask_eq:
      return bit;
    case S::lanemask_lt:
      return bit - 1;
    case S::lanemask_le:
      return bit | (bit - 1);
    case S::lanemask_gt:
      return ~(bit | (bit - 1));
    case S::lanemask_ge:
      return ~(bit - 1);
    case S::dynamic_smem_size:
      return launch.dynamic_shared_bytes;
    case S::total_smem_size:
      return static_cast<uint32_t>(block.shared.size());
    case S::clock:
    case S::clock64:
    case S::globaltimer:
      break;  // read by an instruction of their own
  }
  throw std::runtime_error("a clock can only be read by mov");
}

void begin_warp(Warp& warp, ThreadBlock& block, int index) {
  const Program& program = *block.program;
  warp.block = &block;
  warp.index = index;
  const uint32_t threads = std::min(32u, block.threads - static_cast<uint32_t>(index) * 32);
  warp.existing = threads == 32 ? kAllLanes : (1u << threads) - 1;
  warp.exited = warp.in_collective = warp.in_barrier = warp.carry = 0;
  warp.pc.fill(0);
  warp.storage.resize((program.register_bytes + kCacheLine) / sizeof(uint64_t) + 1);
  warp.banks[0] = aligned(warp.storage);
  // Constants are never written: only sources may lie there.
  warp.banks[1] = const_cast<std::byte*>(program.constants.data());
  std::memset(warp.banks[0], kPoison, program.register_bytes);
  const ptx::Kernel& kernel = *block.launch.kernel;
  warp.local.resize(size_t{32} * ((kernel.local_bytes + 15) / 16 * 16));
  warp.frame.resize(size_t{32} * ((kernel.frame_bytes + 15) / 16 * 16));
  std::ranges::fill(warp.local, std::byte{kPoison});
  std::ranges::fill(warp.frame, std::byte{kPoison});
  for (Warp::LaneCopies& copies : warp.copies) {
    copies.open.clear();
    copies.groups.clear();
  }
  for (const SpecialPlace& place : program.specials) {
    uint32_t* lanes = warp.lanes<uint32_t>(place.offset);
    for (uint32_t lane = 0; lane < 32; ++lane) lanes[lane] = special_value(warp, place.special, lane);
  }
}

void check_launch(const Launch& launch) {
  if (launch.parameters.size() < launch.kernel->parameter_bytes) {
    throw std::runtime_error(
        "launch of " + launch.kernel->name + ": " + std::to_string(launch.parameters.size()) +
        " bytes of parameters, the kernel declares " + std::to_string(launch.kernel->parameter_bytes));
  }
  if (product(launch.grid) == 0 || product(launch.block) == 0) {
    throw std::runtime_error("launch of " + launch.kernel->name + ": an empty grid or block");
  }
}

std::vector<uint32_t> shuffled_blocks(const Launch& launch, std::mt19937_64& random) {
  std::vector<uint32_t> order(product(launch.grid));
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::shuffle(order, random);
  return order;
}

Outcome run_blocks(ThreadBlock& block) {
  const Launch& launch = block.launch;
  for (const uint32_t number : shuffled_blocks(launch, block.random)) {
    const uint32_t index[3] = {number % launch.grid[0], number / launch.grid[0] % launch.grid[1],
                               number / launch.grid[0] / launch.grid[1]};
    block.begin(index);
    block.observer.block_begins(index);
    const Outcome outcome = run_block(block);
    if (outcome.kind != Outcome::Kind::finished) return outcome;
    block.observer.block_ends();
  }
  return {};
}

}  // namespace

void ThreadBlock::begin(const uint32_t block_index[3]) {
  std::copy_n(block_index, 3, index);
  exited = 0;
  std::ranges::fill(shared, std::byte{kPoison});
  for (Barrier& barrier : barriers) barrier = {};
  for (size_t number = 0; number < warps.size(); ++number)
    begin_warp(warps[number], *this, static_cast<int>(number));
}

Outcome execute(const Launch& launch, const Arena& memory, Observer& observer, const Schedule& schedule) {
  check_launch(launch);
  ThreadBlock block{
      launch, schedule, memory, observer, prepare(*launch.kernel), std::mt19937_64(schedule.seed)};
  block.threads = product(launch.block);
  block.warps.resize((block.threads + 31) / 32);
  block.shared.resize(launch.kernel->static_shared_bytes + launch.dynamic_shared_bytes);
  LaunchInfo info{launch.kernel, {}, {}, static_cast<uint32_t>(block.shared.size())};
  std::copy_n(launch.grid, 3, info.grid);
  std::copy_n(launch.block, 3, info.block);
  observer.launch_begins(info);
  Outcome outcome;
  try {
    outcome = run_blocks(block);
  } catch (const Trapped& trapped) {
    outcome = {Outcome::Kind::trapped, trapped.what()};
  }
  observer.launch_ends();
  return outcome;
}

}  // namespace simulated_gpu
