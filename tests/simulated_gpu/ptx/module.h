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

namespace simulated_gpu::ptx {

enum class Space : uint8_t { none, global, shared, local, constant, parameter };

struct Kernel;

/// One instruction, decoded.  Fields beyond these are the executor's.
struct Instruction {
  std::string text;  ///< as written, for reports
  int file = 0,
      line = 0;   ///< source position from .loc: an index into Module::files, 0 when unknown; line from 1
  int index = 0;  ///< position in Kernel::code
  const Kernel* kernel = nullptr;
};

struct Parameter {
  uint32_t offset, bytes;
};

class Module;

/// An entry function.
struct Kernel {
  std::string name;  ///< mangled
  const Module* module = nullptr;
  std::vector<Instruction> code;
  std::vector<Parameter> parameters;
  uint32_t parameter_bytes = 0;
  uint32_t static_shared_bytes = 0;
  uint32_t local_bytes = 0;  ///< per thread
  uint32_t max_threads = 0;  ///< .maxntid, 0 when not given
};

/// A .global or .const variable of the module.
struct Variable {
  std::string name;
  Space space;
  uint64_t bytes, alignment;
  std::vector<std::byte> initial;  ///< empty: zeros
  uint64_t address = 0;            ///< in device memory, set by bind()
};

class Module {
 public:
  std::map<std::string, Kernel> kernels;
  std::map<std::string, Variable> variables;
  std::vector<std::string> files;  ///< source paths; [0] is empty
  int target = 0;                  ///< 80 for sm_80

  /// Sets the address of a variable and of every operand that names it.
  void bind(const std::string& variable, uint64_t address);
};

/// Throws std::runtime_error "name:line: ..." for text that is not understood, naming the instruction.
std::unique_ptr<Module> parse(std::string_view text, const std::string& name);

}  // namespace simulated_gpu::ptx
