#include "tests/simulated_gpu/device/access.h"

#include <string>

namespace simulated_gpu {
namespace {

using ptx::Space;

const char* name_of(Space space) {
  switch (space) {
    case Space::global:
      return "global";
    case Space::shared:
      return "shared";
    case Space::local:
      return "local";
    case Space::constant:
      return "constant";
    case Space::parameter:
      return "parameter";
    default:
      return "frame";
  }
}

[[noreturn]] void refuse(Warp& warp, const Step& step, const char* rule, const std::string& text,
                         uint32_t lane) {
  warp.block->observer.violates(*step.instruction, rule, text, warp.index, 1u << lane);
  throw Trapped(text + " in '" + step.instruction->text + "'");
}

}  // namespace

View view_of(Warp& warp, Space space) {
  ThreadBlock& block = *warp.block;
  switch (space) {
    case Space::shared:
      return {space, block.shared.data(), 0, block.shared.size(), 0};
    case Space::local:
      return {space, warp.local.data(), 0, warp.local.size() / 32, warp.local.size() / 32};
    case Space::frame:
      return {space, warp.frame.data(), 0, warp.frame.size() / 32, warp.frame.size() / 32};
    case Space::parameter: {
      // Parameters are read only: no store to this space gets past its decoder.
      auto* data = const_cast<std::byte*>(block.launch.parameters.data());
      return {space, data, 0, block.launch.parameters.size(), 0};
    }
    default:
      return {space, block.memory.at(block.memory.base()), block.memory.base(), block.memory.range_bytes(),
              0};
  }
}

void read_addresses(const Warp& warp, const Step& step, size_t slot, uint32_t mask, Addresses& addresses) {
  const auto displacement = static_cast<uint64_t>(step.displacement);
  uint64_t* place = addresses.data();
  if ((step.option & kNarrowAddress) != 0) {
    const uint32_t* lanes = warp.lanes<uint32_t>(step.sources[slot]);
    for_lanes(mask, [=](uint32_t lane) { place[lane] = static_cast<uint32_t>(lanes[lane] + displacement); });
  } else {
    const uint64_t* lanes = warp.lanes<uint64_t>(step.sources[slot]);
    for_lanes(mask, [=](uint32_t lane) { place[lane] = lanes[lane] + displacement; });
  }
}

Space resolve_generic(uint64_t& address) {
  const auto within = [&](uint64_t window) { return address - window < kWindowBytes; };
  if (within(kSharedWindow)) {
    address -= kSharedWindow;
    return Space::shared;
  }
  if (within(kLocalWindow)) {
    address -= kLocalWindow;
    return Space::local;
  }
  if (within(kParameterWindow)) {
    address -= kParameterWindow;
    return Space::parameter;
  }
  return Space::global;
}

uint32_t check_access(Warp& warp, const Step& step, const View& view, AccessKind kind, uint32_t mask,
                      const Addresses& addresses, uint32_t bytes, AccessForm form) {
  if (view.space != Space::frame) {
    mask = warp.block->observer.access({step.instruction, view.space, kind, warp.index, mask,
                                        addresses.data(), bytes, form.is_asynchronous});
  }
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<uint32_t>(__builtin_ctz(rest));
    const uint64_t offset = addresses[lane] - view.begin;
    if (offset >= view.bytes || view.bytes - offset < bytes) {
      refuse(
          warp, step, "address",
          "address " + std::to_string(addresses[lane]) + " lies outside " + name_of(view.space) + " memory",
          lane);
    }
    if ((addresses[lane] & (form.alignment - 1)) != 0) {
      refuse(warp, step, "alignment",
             "address " + std::to_string(addresses[lane]) + " is not a multiple of " +
                 std::to_string(form.alignment),
             lane);
    }
  }
  if (kind != AccessKind::read && mask != 0 &&
      (view.space == Space::constant || view.space == Space::parameter)) {
    refuse(warp, step, "address", std::string(name_of(view.space)) + " memory is read only",
           static_cast<uint32_t>(__builtin_ctz(mask)));
  }
  return mask;
}

}  // namespace simulated_gpu
