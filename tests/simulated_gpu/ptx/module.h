#pragma once
// PTX as data: what the parser makes of the text that nvcc embeds in an object file.
// Source: PTX ISA 9.0, NVIDIA.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulated_gpu/ptx/instruction.h"

namespace simulated_gpu {
struct Program;  // device/program.h
}

namespace simulated_gpu::ptx {

struct Parameter {
  uint32_t offset, bytes;
};

class Module;

/// An entry function, with the functions it calls: their code follows its own, each with registers, frame and
/// local memory of its own, since PTX of nvcc never recurses.
struct Kernel {
  std::string name;  ///< mangled
  const Module* module = nullptr;
  std::vector<Instruction> code;
  std::vector<Parameter> parameters;
  uint32_t parameter_bytes = 0;
  uint32_t static_shared_bytes = 0;  ///< up to where dynamic shared memory begins
  uint32_t local_bytes = 0;          ///< per thread
  uint32_t frame_bytes = 0;          ///< per thread: parameters and results of calls
  uint32_t max_threads = 0;          ///< .maxntid, 0 when not given
  std::vector<Type> registers;       ///< by number; a predicate is Type::pred

  /// What the executor made of the code at the first launch after bind().
  mutable std::shared_ptr<const Program> program;
};

/// A .global or .const variable of the module.
struct Variable {
  std::string name;
  Space space;
  uint64_t bytes, alignment;
  std::vector<std::byte> initial;  ///< empty: zeros
  uint64_t address = 0;            ///< in device memory, set by bind()

  /// Pointers in `initial`: at this offset stands the address of another variable, plus an addend.
  struct Pointer {
    uint64_t offset;
    std::string variable;
    uint64_t addend;
  };
  std::vector<Pointer> pointers;
};

class Module {
 public:
  std::map<std::string, Kernel> kernels;
  std::map<std::string, Variable> variables;
  std::vector<std::string> files;  ///< source paths; [0] is empty
  int target = 0;                  ///< 80 for sm_80

  /// Sets the address of a variable and of every operand that names it, also inside `initial` of other
  /// variables: bind all of them before copying initial values.
  void bind(const std::string& variable, uint64_t address);
};

/// Throws std::runtime_error "name:line: ..." for text that is not understood, naming the instruction.
std::unique_ptr<Module> parse(std::string_view text, const std::string& name);

}  // namespace simulated_gpu::ptx
