#pragma once
// From the addresses of a warp's lanes to bytes of the host: resolves windows of generic addresses, tells the
// observer, and refuses what lies outside of a space or is misaligned.

#include <array>
#include <cstddef>
#include <cstdint>

#include "tests/simulated_gpu/device/lanes.h"

namespace simulated_gpu {

using Addresses = std::array<uint64_t, 32>;

/// Where a space lies: the byte of an address is data[lane * lane_stride + address - begin].
struct View {
  ptx::Space space;
  std::byte* data;
  uint64_t begin, bytes, lane_stride;

  std::byte* at(uint32_t lane, uint64_t address) const {
    return data + lane * lane_stride + (address - begin);
  }
};

View view_of(Warp& warp, ptx::Space space);

/// sources[slot] of the step, 4 or 8 bytes wide (option kNarrowAddress says 4), plus its displacement.
void read_addresses(const Warp& warp, const Step& step, size_t slot, uint32_t mask, Addresses& addresses);

/// The space that a generic address falls into; the address becomes one of that space.
ptx::Space resolve_generic(uint64_t& address);

struct AccessForm {
  uint32_t alignment;  ///< of every address
  bool is_asynchronous = false;
};

/// Asks the observer, then checks range and alignment of the lanes that it allows; returns them.  Throws
/// Trapped.
uint32_t check_access(Warp& warp, const Step& step, const View& view, AccessKind kind, uint32_t mask,
                      const Addresses& addresses, uint32_t bytes, AccessForm form);

/// Bit of Step::option of every memory instruction whose address register has 4 bytes.
inline constexpr uint32_t kNarrowAddress = 1u << 31;

/// perform(view, addresses, lanes) for the lanes of each space that the step's addresses fall into, after
/// check_access. Returns all lanes that were allowed.
template <class Perform>
uint32_t access_memory(Warp& warp, const Step& step, size_t slot, AccessKind kind, uint32_t mask,
                       uint32_t bytes, Perform perform) {
  Addresses addresses;
  read_addresses(warp, step, slot, mask, addresses);
  const auto access = [&](ptx::Space space, uint32_t lanes) {
    const View view = view_of(warp, space);
    const uint32_t allowed = check_access(warp, step, view, kind, lanes, addresses, bytes, {bytes});
    if (allowed != 0) perform(view, addresses, allowed);
    return allowed;
  };
  if (step.space != ptx::Space::none) return access(step.space, mask);
  std::array<ptx::Space, 32> spaces;
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<size_t>(__builtin_ctz(rest));
    spaces[lane] = resolve_generic(addresses[lane]);
  }
  uint32_t allowed = 0;
  for (uint32_t rest = mask; rest != 0;) {
    const ptx::Space space = spaces[static_cast<size_t>(__builtin_ctz(rest))];
    uint32_t lanes = 0;
    for (uint32_t others = rest; others != 0; others &= others - 1) {
      const auto lane = static_cast<uint32_t>(__builtin_ctz(others));
      if (spaces[lane] == space) lanes |= 1u << lane;
    }
    allowed |= access(space, lanes);
    rest &= ~lanes;
  }
  return allowed;
}

}  // namespace simulated_gpu
