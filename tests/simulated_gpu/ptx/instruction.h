#pragma once
// One PTX instruction in decoded form: `@!%p1 add.sat.s32 %r1, %r2, 7;` becomes a guard, an opcode, a set of
// modifiers, the types in the order in which they were written, and operands.  Nothing here is text except
// what reports print. Source: PTX ISA 9.0, NVIDIA, chapters 4, 5 and 9.

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/simulated_gpu/ptx/words.h"

namespace simulated_gpu::ptx {

struct Kernel;
struct Variable;

/// none: a generic address, which any window may hold.  frame: parameters of functions, one copy per thread.
enum class Space : uint8_t { none, global, shared, local, constant, parameter, frame };

struct Operand {
  enum class Kind : uint8_t {
    none,
    sink,       ///< `_`: a result that nobody wants
    reg,        ///< value: number of the register in its kernel
    special,    ///< `special`
    immediate,  ///< value: bits; a float literal has the bits of its own type, see literal
    symbol,     ///< value: address of something in `space`, or `variable` when that is of the module
    vector      ///< elements
  };
  Kind kind = Kind::none;
  Type literal = Type::none;  ///< of an immediate: f32, f64, or s64 for integers
  Space space = Space::none;
  Special special = Special::tid_x;
  bool is_negated = false;   ///< `!%p`
  bool is_address = false;   ///< written in [ ]
  uint64_t value = 0;        ///< see kind
  int64_t displacement = 0;  ///< `[%rd1+8]`
  Variable* variable = nullptr;
  std::vector<Operand> elements;
};

/// Bytes that a call moves between two places of a thread's frame.
struct FrameCopy {
  uint32_t from, to, bytes;
};

/// One instruction, decoded.
struct Instruction {
  std::string text;  ///< as written, for reports
  int file = 0,
      line = 0;   ///< source position from .loc: an index into Module::files, 0 when unknown; line from 1
  int index = 0;  ///< position in Kernel::code
  const Kernel* kernel = nullptr;

  int ptx_line = 0;  ///< in the text of the module, from 1
  Opcode opcode = Opcode::mov;
  std::bitset<kModifiers> modifiers;
  std::array<Type, 4> types{};    ///< Type::none where fewer were written
  int guard = -1;                 ///< register of the predicate, -1 when there is none
  bool is_guard_negated = false;  ///< `@!%p`
  std::vector<Operand> operands;  ///< in the order written; `d|p` is d
  Operand paired;                 ///< p of `d|p`
  int target = -1;                ///< bra, call: position in Kernel::code
  std::vector<int> targets;       ///< brx.idx
  std::string callee;             ///< call: name of a function, or of vprintf, __assertfail
  int return_register = -1;       ///< call, and ret inside a function: holds the position to return to
  std::vector<FrameCopy> argument_copies, result_copies;  ///< call

  bool has(Modifier modifier) const { return modifiers[static_cast<size_t>(modifier)]; }
};

}  // namespace simulated_gpu::ptx
