#include "tests/simulated_gpu/tests/launch_driver.h"

#include <gtest/gtest.h>

#include <utility>

namespace simulated_gpu {

OperationPointer Timelines::next(int timeline, const std::string& name,
                                 const std::vector<OperationPointer>& after) {
  VectorClock& clock = clocks_[timeline];
  for (const OperationPointer& operation : after) clock.join(operation->clock);
  clock.advance(timeline);
  return std::make_shared<Operation>(Operation{name, timeline, clock});
}

SomeKernel::SomeKernel(int instructions) {
  module_.files = {"", "a.cu"};
  ptx::Kernel& kernel = module_.kernels["_Z6kernelPf"];
  kernel.name = "_Z6kernelPf";
  kernel.module = &module_;
  for (int i = 0; i < instructions; ++i) {
    ptx::Instruction instruction;
    instruction.text = "instruction " + std::to_string(i);
    instruction.file = 1;
    instruction.line = i + 1;
    instruction.index = i;
    instruction.kernel = &kernel;
    kernel.code.push_back(std::move(instruction));
  }
}

DrivenLaunch::DrivenLaunch(std::unique_ptr<Observer> observer, const SomeKernel& kernel, uint32_t blocks,
                           uint32_t threads, uint32_t shared_bytes)
    : kernel_(kernel),
      observer_(std::move(observer)),
      info_{&kernel.kernel(), {blocks, 1, 1}, {threads, 1, 1}, shared_bytes} {
  observer_->launch_begins(info_);
  begin_block(0);
}

DrivenLaunch::~DrivenLaunch() {
  observer_->block_ends();
  observer_->launch_ends();
}

void DrivenLaunch::block(uint32_t index) {
  observer_->block_ends();
  begin_block(index);
}

void DrivenLaunch::begin_block(uint32_t index) {
  const uint32_t position[3] = {index, 0, 0};
  observer_->block_begins(position);
}

uint32_t DrivenLaunch::access(int instruction, ptx::Space space, AccessKind kind, int warp, uint32_t mask,
                              uint32_t bytes, const AddressOfLane& address, bool is_asynchronous) {
  std::array<uint64_t, 32> addresses{};
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) addresses[static_cast<size_t>(lane)] = address(lane);
  return observer_->access(
      {&kernel_.at(instruction), space, kind, warp, mask, addresses.data(), bytes, is_asynchronous});
}

uint32_t DrivenLaunch::global(int instruction, AccessKind kind, int warp, uint32_t mask, uint32_t bytes,
                              const AddressOfLane& address) {
  return access(instruction, ptx::Space::global, kind, warp, mask, bytes, address);
}

uint32_t DrivenLaunch::shared(int instruction, AccessKind kind, int warp, uint32_t mask, uint32_t bytes,
                              const AddressOfLane& address) {
  return access(instruction, ptx::Space::shared, kind, warp, mask, bytes, address);
}

void DrivenLaunch::barrier() { barrier_of(std::vector<uint32_t>(info_.block[0] / 32, kAllLanes)); }

void DrivenLaunch::barrier_of(std::vector<uint32_t> warps) {
  observer_->barrier_passes(kernel_.at(0), std::move(warps));
}

std::vector<std::string> taken_reports() {
  static constexpr const char* kNames[] = {"memory", "race",  "uninitialised", "synchronisation",
                                           "stream", "limit", "usage",         "collective"};
  std::vector<std::string> texts;
  for (const Report& report : take_reports())
    texts.push_back(kNames[static_cast<size_t>(report.kind)] + (": " + report.text));
  return texts;
}

void expect_needed(const std::function<void(bool is_there)>& play, const std::string& report) {
  play(true);
  EXPECT_EQ(taken_reports(), std::vector<std::string>{});
  play(false);
  EXPECT_EQ(taken_reports(), std::vector<std::string>{report});
}

}  // namespace simulated_gpu
