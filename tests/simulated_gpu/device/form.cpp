#include "tests/simulated_gpu/device/form.h"

#include <cstring>
#include <stdexcept>

namespace simulated_gpu {
namespace {

using ptx::Operand;
using ptx::Space;
using ptx::Type;

constexpr uint32_t kScratchBytes = 256, kAlignment = 64;

/// Bytes that 32 lanes of a register take.
uint32_t place_bytes(uint32_t lane_bytes) { return lane_bytes == 0 ? 4 : lane_bytes * 32; }

}  // namespace

Layout::Layout(const ptx::Kernel& kernel) : kernel_(kernel), register_bytes_(kScratchBytes) {
  // Widest first, so that every place is aligned to its size or to a cache line.
  offsets_.resize(kernel.registers.size());
  for (const uint32_t bytes : {8u, 4u, 2u, 1u, 0u}) {
    for (size_t number = 0; number < offsets_.size(); ++number) {
      if (ptx::bytes_of(kernel.registers[number]) != bytes) continue;
      offsets_[number] = register_bytes_;
      register_bytes_ += place_bytes(bytes);
    }
  }
}

uint32_t Layout::special(ptx::Special special) {
  for (const SpecialPlace& place : specials_) {
    if (place.special == special) return place.offset;
  }
  const uint32_t offset = (register_bytes_ + kAlignment - 1) / kAlignment * kAlignment;
  register_bytes_ = offset + place_bytes(4);
  specials_.push_back({special, offset});
  return offset;
}

uint32_t Layout::constant(uint64_t value, uint32_t bytes) {
  const auto [known, is_new] =
      known_constants_.try_emplace({value, bytes}, static_cast<uint32_t>(constants_.size()));
  if (!is_new) return known->second;
  constants_.resize(constants_.size() + (place_bytes(bytes) + kAlignment - 1) / kAlignment * kAlignment);
  std::byte* place = constants_.data() + known->second;
  if (bytes == 0) {
    const uint32_t mask = value != 0 ? ~0u : 0;
    std::memcpy(place, &mask, sizeof mask);
  } else {
    for (uint32_t lane = 0; lane < 32; ++lane) std::memcpy(place + lane * bytes, &value, bytes);
  }
  return known->second;
}

void Layout::move_into(Program& program) {
  program.constants = std::move(constants_);
  program.specials = std::move(specials_);
  program.register_bytes = register_bytes_;
}

Form::Form(const ptx::Instruction& instruction, Layout& layout)
    : instruction_(instruction), layout_(layout), open_(instruction.modifiers) {
  step.instruction = &instruction;
  if (instruction.guard < 0) return;
  if (layout.register_type(static_cast<uint64_t>(instruction.guard)) != Type::pred)
    fail("the guard is no predicate");
  step.has_guard = true;
  step.is_guard_negated = instruction.is_guard_negated;
  step.guard = layout.register_offset(static_cast<uint64_t>(instruction.guard));
}

bool Form::take(ptx::Modifier modifier) {
  open_.reset(static_cast<size_t>(modifier));
  return instruction_.has(modifier);
}

ptx::Modifier Form::take_one_of(std::initializer_list<ptx::Modifier> list, ptx::Modifier otherwise) {
  for (const ptx::Modifier modifier : list) {
    if (take(modifier)) return modifier;
  }
  return otherwise;
}

void Form::ignore(std::initializer_list<ptx::Modifier> list) {
  for (const ptx::Modifier modifier : list) open_.reset(static_cast<size_t>(modifier));
}

uint32_t Form::register_place(const Operand& operand, uint32_t bytes) const {
  const Type type = layout_.register_type(operand.value);
  if (ptx::bytes_of(type) != bytes) {
    fail("a register of type ." + std::string(ptx::name(type)) + " where " + std::to_string(bytes) +
         " bytes are due");
  }
  return layout_.register_offset(operand.value);
}

uint32_t Form::destination(size_t index, uint32_t bytes) {
  const Operand& operand = instruction_.operands.at(index);
  if (operand.kind == Operand::Kind::sink) return layout_.scratch();
  if (operand.kind != Operand::Kind::reg) fail("the result needs a register");
  return register_place(operand, bytes);
}

uint32_t Form::paired_destination(uint32_t bytes) {
  const Operand& operand = instruction_.paired;
  if (operand.kind == Operand::Kind::none || operand.kind == Operand::Kind::sink) return layout_.scratch();
  if (operand.kind != Operand::Kind::reg) fail("the second result needs a register");
  return register_place(operand, bytes);
}

uint32_t Form::wide_destination(size_t index, Type type, uint32_t& register_bytes) {
  return wide_destination(instruction_.operands.at(index), type, register_bytes);
}

uint32_t Form::wide_destination(const Operand& operand, Type type, uint32_t& register_bytes) {
  register_bytes = ptx::bytes_of(type);
  if (operand.kind == Operand::Kind::sink) return layout_.scratch();
  if (operand.kind != Operand::Kind::reg) fail("the result needs a register");
  const uint32_t bytes = ptx::bytes_of(layout_.register_type(operand.value));
  if (bytes < register_bytes) fail("the register is narrower than the type");
  register_bytes = bytes;
  return layout_.register_offset(operand.value);
}

Source Form::source(size_t index, uint32_t bytes) { return source(instruction_.operands.at(index), bytes); }

Source Form::source(const Operand& operand, uint32_t bytes) {
  Source result;
  result.is_negated = operand.is_negated;
  if (operand.is_negated && bytes != 0) fail("'!' needs a predicate");
  switch (operand.kind) {
    case Operand::Kind::reg:
      result.offset = register_place(operand, bytes);
      return result;
    case Operand::Kind::special:
      if (bytes != 4) fail("a special register of another size than 4 bytes");
      result.offset = layout_.special(operand.special);
      return result;
    case Operand::Kind::immediate:
    case Operand::Kind::symbol:
      result.is_constant = true;
      result.offset = layout_.constant(value_of(operand, bytes), bytes);
      return result;
    default:
      fail("an operand of a kind that is not supported here");
  }
}

Source Form::wide_source(const Operand& operand, Type type, uint32_t& register_bytes) {
  register_bytes = ptx::bytes_of(type);
  if (operand.kind == Operand::Kind::reg) {
    const uint32_t bytes = ptx::bytes_of(layout_.register_type(operand.value));
    if (bytes < register_bytes) fail("the register is narrower than the type");
    register_bytes = bytes;
  }
  return source(operand, register_bytes);
}

uint64_t Form::value_of(const Operand& operand, uint32_t bytes) const {
  if (operand.kind == Operand::Kind::immediate) {
    if ((operand.literal == Type::f64 && bytes != 8) || (operand.literal == Type::f32 && bytes != 4)) {
      fail("a literal of another size than the type");
    }
    return bytes == 8 || bytes == 0 ? operand.value : operand.value & ((uint64_t{1} << (8 * bytes)) - 1);
  }
  if (operand.variable != nullptr && operand.variable->address == 0) {
    fail("variable '" + operand.variable->name + "' has no address: bind() it first");
  }
  return operand.value + static_cast<uint64_t>(operand.displacement);
}

void Form::place(uint32_t destination_bytes, std::initializer_list<uint32_t> source_bytes) {
  expect_operands(source_bytes.size() + 1);
  step.destination = destination(0, destination_bytes);
  size_t index = 0;
  for (const uint32_t bytes : source_bytes) {
    step.sources[index] = source(index + 1, bytes);
    ++index;
  }
}

uint32_t Form::address(size_t index, size_t slot, Space space) {
  Operand operand = instruction_.operands.at(index);
  if (!operand.is_address) fail("an address in [ ] is due");
  uint32_t bytes = 8;
  if (operand.kind == Operand::Kind::reg) bytes = ptx::bytes_of(layout_.register_type(operand.value));
  if (bytes != 4 && bytes != 8) fail("an address of neither 4 nor 8 bytes");
  if (operand.kind == Operand::Kind::symbol && operand.space == Space::frame && space == Space::parameter) {
    space = Space::frame;
  }
  step.displacement = operand.displacement;
  step.space = space;
  operand.displacement = 0;
  step.sources[slot] = source(operand, bytes);
  return bytes;
}

void Form::expect_operands(size_t count) const { expect_operands(count, count); }

void Form::expect_operands(size_t least, size_t most) const {
  if (operands() < least || operands() > most) fail("the number of operands is wrong");
}

void Form::finish() const {
  for (size_t index = 0; index < open_.size(); ++index) {
    if (!open_[index]) continue;
    fail("modifier '." + std::string(ptx::name(static_cast<ptx::Modifier>(index))) +
         "' is not supported here");
  }
}

void Form::fail(const std::string& what) const {
  throw std::runtime_error("PTX line " + std::to_string(instruction_.ptx_line) + ", '" + instruction_.text +
                           "': " + what);
}

}  // namespace simulated_gpu
