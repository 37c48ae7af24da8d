// Decoders of what moves the program counter, ends threads, waits for the block or orders memory.  The
// scheduler does the work.  PTX ISA 9.0, sections 9.7.12 and 9.7.13.

#include "tests/simulated_gpu/device/form.h"
#include "tests/simulated_gpu/device/warp.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;

void fence(Warp& warp, const Step& step, uint32_t mask) {
  warp.block->observer.fences(warp.index, mask, step.option != 0);
}

void nothing(Warp&, const Step&, uint32_t) {}

void trap(Warp& warp, const Step& step, uint32_t mask) {
  warp.block->observer.violates(*step.instruction, "trap", "the kernel trapped", warp.index, mask);
  throw Trapped("'" + step.instruction->text + "' was executed");
}

void decode_fence(Form& form) {
  using M = Modifier;
  form.expect_operands(0);
  const bool is_membar = form.opcode() == Opcode::membar;
  const M scope =
      form.take_one_of({M::cta, M::cluster, M::gpu, M::gl, M::sys}, is_membar ? M::count : M::gpu);
  if (scope == M::count) form.fail("a barrier of memory without a scope");
  form.ignore({M::sc, M::acq_rel});
  form.step.option = scope == M::cta ? 0 : 1;
  form.step.handler = fence;
}

/// bar.sync a{, b}; bar.arrive a, b; bar.red.op d, a{, b}, p.
void decode_barrier(Form& form) {
  form.ignore({Modifier::cta, Modifier::aligned});
  form.step.flow = Flow::barrier;
  form.step.handler = nothing;
  size_t first = 0, last = form.operands();
  if (form.take(Modifier::red)) {
    switch (form.take_one_of({Modifier::popc, Modifier::and_, Modifier::or_}, Modifier::count)) {
      case Modifier::popc:
        form.step.barrier = BarrierKind::red_popc;
        break;
      case Modifier::and_:
        form.step.barrier = BarrierKind::red_and;
        break;
      case Modifier::or_:
        form.step.barrier = BarrierKind::red_or;
        break;
      default:
        form.fail("a reduction without an operator");
    }
    form.expect_operands(3, 4);
    form.step.destination = form.destination(0, form.step.barrier == BarrierKind::red_popc ? 4 : 0);
    form.step.sources[2] = form.source(--last, 0);
    first = 1;
  } else if (form.take(Modifier::arrive)) {
    form.step.barrier = BarrierKind::arrive;
    form.expect_operands(2);
  } else if (form.take(Modifier::sync)) {
    form.expect_operands(1, 2);
  } else {
    form.fail("a barrier that neither waits nor arrives");
  }
  form.step.sources[0] = form.source(first, 4);
  form.step.has_thread_count = last - first == 2;
  if (form.step.has_thread_count) form.step.sources[1] = form.source(first + 1, 4);
}

void decode_jump(Form& form, Flow flow) {
  form.take(Modifier::uni);
  form.step.flow = flow;
  form.step.handler = nothing;
  form.step.target = form.instruction().target;
}

}  // namespace

bool decode_control(Form& form) {
  switch (form.opcode()) {
    case Opcode::bra:
      decode_jump(form, Flow::branch);
      return true;
    case Opcode::brx:
      decode_jump(form, Flow::indexed);
      form.take(Modifier::idx);
      form.step.sources[0] = form.source(0, 4);
      return true;
    case Opcode::ret:
      decode_jump(form, form.instruction().return_register >= 0 ? Flow::ret : Flow::exit);
      break;
    case Opcode::exit:
      decode_jump(form, Flow::exit);
      return true;
    case Opcode::call:
      if (decode_provided_call(form)) return true;
      decode_jump(form, Flow::call);
      break;
    case Opcode::trap:
    case Opcode::brkpt:
      form.step.handler = trap;
      return true;
    case Opcode::membar:
    case Opcode::fence:
      decode_fence(form);
      return true;
    case Opcode::nanosleep:
      form.expect_operands(1);
      form.step.handler = nothing;
      return true;
    case Opcode::bar:
    case Opcode::barrier:
      decode_barrier(form);
      return true;
    default:
      return false;
  }
  // call and ret of functions share the register that holds where to go on.
  if (form.instruction().return_register >= 0) {
    form.step.destination = form.register_place(static_cast<uint64_t>(form.instruction().return_register));
  }
  return true;
}

}  // namespace simulated_gpu
