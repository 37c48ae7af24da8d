#pragma once
// Declarations of variables and parameters, common to module level, parameter lists and bodies: `.global
// .align 4 .b8 table[16] = {0, 0, 128, 63, ...}`, `.param .u64 .ptr .global n`, `.shared .f32 s[32]`.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tests/simulated_gpu/ptx/cursor.h"
#include "tests/simulated_gpu/ptx/module.h"

namespace simulated_gpu::ptx {

struct Declaration {
  Space space = Space::none;
  bool is_extern = false;
  uint32_t alignment = 1;
  uint64_t bytes = 0;  ///< 0 for an array without size
  std::string_view name;
  std::vector<std::byte> initial;
  std::vector<Variable::Pointer> pointers;
};

/// True when a declaration of a variable (not of a register) begins at the cursor, after linkage directives.
bool begins_declaration(const Cursor& cursor);

/// Reads up to, not over, the `;`, `,` or `)` behind it.
Declaration parse_declaration(Cursor& cursor);

}  // namespace simulated_gpu::ptx
