#pragma once
// What decoders use to turn one ptx::Instruction into a Step.  They take what they understand; what nobody
// took when the decoder is done is an error that names it, so that no modifier is passed over in silence.

#include <bitset>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulated_gpu/device/program.h"

namespace simulated_gpu {

/// Places of registers, special registers and constants of one program.
class Layout {
 public:
  explicit Layout(const ptx::Kernel& kernel);
  uint32_t register_offset(uint64_t number) const { return offsets_[number]; }
  ptx::Type register_type(uint64_t number) const { return kernel_.registers[number]; }
  uint32_t special(ptx::Special special);
  uint32_t scratch() const { return 0; }  ///< 256 bytes that nobody reads
  /// An array of 32 values of `bytes` bytes each, or one mask when bytes is 0.
  uint32_t constant(uint64_t value, uint32_t bytes);
  void move_into(Program& program);

 private:
  const ptx::Kernel& kernel_;
  std::vector<uint32_t> offsets_;
  uint32_t register_bytes_ = 0;
  std::vector<SpecialPlace> specials_;
  std::vector<std::byte> constants_;
  std::map<std::pair<uint64_t, uint32_t>, uint32_t> known_constants_;
};

class Form {
 public:
  Form(const ptx::Instruction& instruction, Layout& layout);

  const ptx::Instruction& instruction() const { return instruction_; }
  ptx::Opcode opcode() const { return instruction_.opcode; }
  ptx::Type type(size_t index = 0) const { return instruction_.types[index]; }
  size_t operands() const { return instruction_.operands.size(); }
  const ptx::Operand& operand(size_t index) const { return instruction_.operands[index]; }

  /// True when the instruction has the modifier, which then counts as understood.
  bool take(ptx::Modifier modifier);
  /// The first of the list that it has, or `otherwise`.
  ptx::Modifier take_one_of(std::initializer_list<ptx::Modifier> list, ptx::Modifier otherwise);
  /// Modifiers that do not change the result here, such as cache hints.
  void ignore(std::initializer_list<ptx::Modifier> list);

  /// Place of the register that the operand names; it must have exactly `bytes` bytes (0: a predicate), or be
  /// a sink.
  uint32_t destination(size_t index, uint32_t bytes);
  uint32_t paired_destination(uint32_t bytes);
  /// A register, which may be wider than the type, as loads, stores and conversions allow; its bytes go to
  /// register_bytes.
  uint32_t wide_destination(size_t index, ptx::Type type, uint32_t& register_bytes);
  uint32_t wide_destination(const ptx::Operand& operand, ptx::Type type, uint32_t& register_bytes);

  /// A register, immediate, special register or symbol as 32 values of `bytes` bytes (0: a predicate).
  Source source(size_t index, uint32_t bytes);
  Source source(const ptx::Operand& operand, uint32_t bytes);
  Source wide_source(const ptx::Operand& operand, ptx::Type type, uint32_t& register_bytes);
  uint32_t register_place(uint64_t number) const { return layout_.register_offset(number); }

  /// The whole of `d, a, b, ...`: destination and sources of these sizes, and no other operand.
  void place(uint32_t destination_bytes, std::initializer_list<uint32_t> source_bytes);

  /// [address]: sources[slot] becomes 64-bit or 32-bit lanes, step.displacement and step.space are set;
  /// returns their bytes.
  uint32_t address(size_t index, size_t slot, ptx::Space space);

  /// Throws when the number of operands differs.
  void expect_operands(size_t count) const;
  void expect_operands(size_t least, size_t most) const;
  /// Throws when a modifier was not taken.
  void finish() const;
  [[noreturn]] void fail(const std::string& what) const;

  Step step;

 private:
  uint32_t register_place(const ptx::Operand& operand, uint32_t bytes) const;
  uint64_t value_of(const ptx::Operand& operand, uint32_t bytes) const;

  const ptx::Instruction& instruction_;
  Layout& layout_;
  std::bitset<ptx::kModifiers> open_;
};

/// The space that the instruction names; Space::none when it names none and its addresses are generic.
ptx::Space take_space(Form& form);

/// Decoders, one per family of instructions: false when the opcode is not of the family.
bool decode_move(Form& form);           ///< mov
bool decode_integer(Form& form);        ///< add sub mul mad min max abs neg div rem sad dp4a
bool decode_carry(Form& form);          ///< add.cc addc sub.cc subc mad.cc madc
bool decode_bits(Form& form);           ///< and or xor not shl shr shf prmt bfe bfi lop3 popc clz brev bfind
bool decode_float(Form& form);          ///< f32 and f64 arithmetic
bool decode_approximation(Form& form);  ///< ex2 lg2 sin cos tanh rcp rsqrt sqrt div of floats
bool decode_half(Form& form);           ///< f16 and bf16 arithmetic, single and packed
bool decode_conversion(Form& form);     ///< cvt
bool decode_comparison(Form& form);     ///< setp set selp
bool decode_memory(Form& form);         ///< ld st prefetch
bool decode_address(Form& form);        ///< cvta isspacep
bool decode_atomic(Form& form);         ///< atom red
bool decode_collective(Form& form);     ///< shfl vote redux match activemask bar.warp
bool decode_matrix(Form& form);         ///< ldmatrix stmatrix mma
bool decode_async_copy(Form& form);     ///< cp.async
bool decode_provided_call(Form& form);  ///< call of vprintf and __assertfail
bool decode_control(Form& form);        ///< bra brx call ret exit trap bar membar fence nanosleep

}  // namespace simulated_gpu
