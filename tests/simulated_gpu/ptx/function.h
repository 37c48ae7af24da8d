#pragma once
// A function as it stands in the text, before the linker attaches it to the kernels that call it.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/simulated_gpu/ptx/cursor.h"
#include "tests/simulated_gpu/ptx/declaration.h"
#include "tests/simulated_gpu/ptx/module.h"

namespace simulated_gpu::ptx {

struct SharedVariable {
  uint64_t bytes;
  uint32_t alignment;
  bool is_dynamic;  ///< extern: begins behind all static ones
};

/// Operands that name shared variables hold their index in Functions::shared; local and frame symbols hold
/// offsets within this function; branch targets are positions in its code.
struct Function {
  std::string name;
  bool is_entry = false;
  std::vector<Instruction> code;
  std::vector<Parameter> parameters;  ///< of an entry: in parameter space; else in the frame
  std::vector<Parameter> results;     ///< in the frame
  std::vector<Type> registers;
  uint32_t parameter_bytes = 0, local_bytes = 0, frame_bytes = 0, max_threads = 0;
};

struct Functions {
  std::map<std::string, Function> all;
  std::vector<SharedVariable> shared;
  std::map<std::string, size_t, std::less<>> module_shared;  ///< declared at module level: index in `shared`
};

constexpr uint64_t align_up(uint64_t offset, uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

/// Reads from `.entry` or `.func` over the body; a mere prototype leaves no trace.
void parse_function(Cursor& cursor, Module& module, Functions& functions);

/// `.loc 1 24 3, function_name $L, inlined_at 1 30 5`: file and line.
struct SourcePosition {
  int file = 0, line = 0;
};
SourcePosition parse_loc(Cursor& cursor);

/// Makes the kernels of the module from the functions.
void link(Functions& functions, Module& module, const std::string& name);

}  // namespace simulated_gpu::ptx
