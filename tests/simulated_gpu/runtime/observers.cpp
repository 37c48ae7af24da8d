#include "tests/simulated_gpu/runtime/observers.h"

#include <utility>

#include "tests/simulated_gpu/control.h"

namespace simulated_gpu {
namespace {

/// Tells the checker and the profile everything; accesses that the checker forbids do not count.
class CheckAndProfile final : public Observer {
 public:
  CheckAndProfile(std::unique_ptr<Observer> check, std::unique_ptr<Observer> profile)
      : check_(std::move(check)), profile_(std::move(profile)) {}

  void launch_begins(const LaunchInfo& info) override {
    check_->launch_begins(info);
    profile_->launch_begins(info);
  }
  void launch_ends() override {
    check_->launch_ends();
    profile_->launch_ends();
  }
  void block_begins(const uint32_t index[3]) override {
    check_->block_begins(index);
    profile_->block_begins(index);
  }
  void block_ends() override {
    check_->block_ends();
    profile_->block_ends();
  }
  void executes(const ptx::Instruction& instruction, int warp, uint32_t mask) override {
    check_->executes(instruction, warp, mask);
    profile_->executes(instruction, warp, mask);
  }
  void branches(const ptx::Instruction& instruction, uint32_t taken, uint32_t not_taken) override {
    check_->branches(instruction, taken, not_taken);
    profile_->branches(instruction, taken, not_taken);
  }
  uint32_t access(const Access& access) override {
    Access allowed = access;
    allowed.mask = check_->access(access);
    return allowed.mask & profile_->access(allowed);
  }
  void asynchronous_copy_done(int warp, int lane, uint64_t shared_address, uint32_t bytes) override {
    check_->asynchronous_copy_done(warp, lane, shared_address, bytes);
    profile_->asynchronous_copy_done(warp, lane, shared_address, bytes);
  }
  void barrier_passes(const ptx::Instruction& instruction, const std::vector<uint32_t>& warps) override {
    check_->barrier_passes(instruction, warps);
    profile_->barrier_passes(instruction, warps);
  }
  void warp_synchronises(int warp, uint32_t mask) override {
    check_->warp_synchronises(warp, mask);
    profile_->warp_synchronises(warp, mask);
  }
  void fences(int warp, uint32_t mask, bool device_scope) override {
    check_->fences(warp, mask, device_scope);
    profile_->fences(warp, mask, device_scope);
  }
  void violates(const ptx::Instruction& instruction, const char* rule, const std::string& text, int warp,
                uint32_t lanes) override {
    check_->violates(instruction, rule, text, warp, lanes);
    profile_->violates(instruction, rule, text, warp, lanes);
  }

 private:
  std::unique_ptr<Observer> check_, profile_;
};

/// Without checks, accesses outside the device's memory are still not made: they would be the simulator's
/// own.
class RangeGuard final : public Observer {
 public:
  explicit RangeGuard(const Arena& memory) : memory_(memory) {}

  uint32_t access(const Access& access) override {
    if (access.space != ptx::Space::global) return access.mask;
    uint32_t allowed = 0;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint64_t first = access.addresses[lane];
      const bool is_inside = memory_.contains(first) && memory_.contains(first + access.bytes_per_lane - 1);
      if (access.mask >> lane & is_inside) allowed |= 1u << lane;
    }
    return allowed;
  }

 private:
  const Arena& memory_;
};

}  // namespace

std::unique_ptr<Observer> observer_of_launch(Device& device, const OperationPointer& operation) {
  if (!options().check) return std::make_unique<RangeGuard>(device.memory);
  return std::make_unique<CheckAndProfile>(device.shadow.watch_launch(operation), profile().watch_launch());
}

}  // namespace simulated_gpu
