#include "tests/simulated_gpu/device/program.h"

#include <mutex>

#include "tests/simulated_gpu/device/form.h"

namespace simulated_gpu {
namespace {

constexpr bool (*kDecoders[])(Form&) = {
    decode_move,       decode_carry,         decode_integer, decode_bits,
    decode_half,       decode_approximation, decode_float,   decode_conversion,
    decode_memory,     decode_address,       decode_atomic,  decode_comparison,
    decode_collective, decode_matrix,        decode_control, decode_async_copy,
};

Step decode(const ptx::Instruction& instruction, Layout& layout) {
  Form form(instruction, layout);
  for (const auto decoder : kDecoders) {
    if (!decoder(form)) continue;
    form.finish();
    return std::move(form.step);
  }
  form.fail("this form of the instruction is not known");
}

}  // namespace

std::shared_ptr<const Program> prepare(const ptx::Kernel& kernel) {
  // Launches from several threads may share a kernel; making a program is rare, so one lock for all will do.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (kernel.program) return kernel.program;
  auto program = std::make_shared<Program>();
  Layout layout(kernel);
  program->steps.reserve(kernel.code.size());
  for (const ptx::Instruction& instruction : kernel.code)
    program->steps.push_back(decode(instruction, layout));
  layout.move_into(*program);
  kernel.program = program;
  return program;
}

}  // namespace simulated_gpu
