// cvta and isspacep: generic addresses and the windows in them.  PTX ISA 9.0, section 9.7.9.

#include "tests/simulated_gpu/device/access.h"
#include "tests/simulated_gpu/device/form.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Space;

uint64_t window_of(Space space) {
  if (space == Space::shared) return kSharedWindow;
  if (space == Space::local) return kLocalWindow;
  if (space == Space::parameter) return kParameterWindow;
  return 0;
}

template <uint64_t window>
void into_generic(Warp& warp, const Step& step, uint32_t mask) {
  unary<[](uint64_t address) { return address + window; }, uint64_t, uint64_t>(warp, step, mask);
}
template <uint64_t window>
void out_of_generic(Warp& warp, const Step& step, uint32_t mask) {
  unary<[](uint64_t address) { return address - window; }, uint64_t, uint64_t>(warp, step, mask);
}

template <uint64_t window>
Handler choose(bool leaves_generic) {
  return leaves_generic ? out_of_generic<window> : into_generic<window>;
}

/// A device address is global if it lies in the memory of the device; constants lie there as well.
void is_in_space(Warp& warp, const Step& step, uint32_t mask) {
  const uint64_t* a = warp.lanes<uint64_t>(step.sources[0]);
  const Space wanted = step.space;
  const uint32_t bits = lanes_where([&](uint32_t lane) {
    uint64_t address = a[lane];
    const Space space = resolve_generic(address);
    if (space != wanted) return false;
    return space != Space::global || warp.block->memory.contains(address);
  });
  warp.set_predicate(step.destination, bits, mask);
}

}  // namespace

bool decode_address(Form& form) {
  if (form.opcode() == Opcode::cvta) {
    form.place(8, {8});
    const bool leaves_generic = form.take(Modifier::to);
    switch (window_of(take_space(form))) {
      case kSharedWindow:
        form.step.handler = choose<kSharedWindow>(leaves_generic);
        break;
      case kLocalWindow:
        form.step.handler = choose<kLocalWindow>(leaves_generic);
        break;
      case kParameterWindow:
        form.step.handler = choose<kParameterWindow>(leaves_generic);
        break;
      default:
        form.step.handler = choose<0>(leaves_generic);
        break;
    }
    return true;
  }
  if (form.opcode() == Opcode::isspacep) {
    form.step.space = take_space(form);
    form.place(0, {8});
    form.step.handler = is_in_space;
    return form.step.space != Space::none;
  }
  return false;
}

}  // namespace simulated_gpu
