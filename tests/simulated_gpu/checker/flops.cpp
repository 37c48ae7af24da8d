#include "tests/simulated_gpu/checker/flops.h"

#include <stdexcept>

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Opcode;
using ptx::Type;

/// Floats in a value of the type.
uint64_t elements(Type type) {
  switch (type) {
    case Type::f16:
    case Type::bf16:
    case Type::f32:
    case Type::f64:
      return 1;
    case Type::f16x2:
    case Type::bf16x2:
      return 2;
    default:
      return 0;
  }
}

uint64_t matrix_flops(const ptx::Instruction& instruction) {
  if (instruction.has(Modifier::m16n8k8)) return 2 * 16 * 8 * 8;
  if (instruction.has(Modifier::m16n8k16)) return 2 * 16 * 8 * 16;
  throw std::runtime_error("profile: the shape of " + instruction.text + " is not known");
}

}  // namespace

Flops flops_of(const ptx::Instruction& instruction) {
  switch (instruction.opcode) {
    case Opcode::add:
    case Opcode::sub:
    case Opcode::mul:
    case Opcode::div:
    case Opcode::rcp:
    case Opcode::sqrt:
    case Opcode::rsqrt:
    case Opcode::ex2:
    case Opcode::lg2:
    case Opcode::sin:
    case Opcode::cos:
    case Opcode::tanh:
      return {elements(instruction.types[0]), 0};
    case Opcode::fma:
    case Opcode::mad:
      return {2 * elements(instruction.types[0]), 0};
    case Opcode::mma:
      return {0, matrix_flops(instruction)};
    default:
      return {};
  }
}

}  // namespace simulated_gpu
