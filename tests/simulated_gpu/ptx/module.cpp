#include "tests/simulated_gpu/ptx/module.h"

#include <cstring>
#include <stdexcept>

#include "tests/simulated_gpu/ptx/function.h"

namespace simulated_gpu::ptx {
namespace {

void parse_file(Cursor& cursor, Module& module) {
  const auto index = static_cast<size_t>(cursor.expect_integer());
  if (cursor.peek().kind != Token::Kind::text) cursor.fail(".file without a path");
  if (module.files.size() <= index) module.files.resize(index + 1);
  module.files[index] = cursor.next().text;
  while (cursor.accept(',')) cursor.expect_integer();
}

void parse_target(Cursor& cursor, Module& module) {
  const std::string text(cursor.expect_word());
  if (!text.starts_with("sm_")) cursor.fail("target '", text, "' is not known");
  module.target = std::atoi(text.c_str() + 3);
  while (cursor.accept(',')) cursor.expect_word();
}

void parse_variable(Cursor& cursor, Module& module, Functions& functions) {
  Declaration declaration = parse_declaration(cursor);
  cursor.expect(';');
  const std::string name(declaration.name);
  if (declaration.space == Space::shared) {
    functions.module_shared[name] = functions.shared.size();
    functions.shared.push_back({declaration.bytes, declaration.alignment, declaration.is_extern});
    return;
  }
  if (declaration.space != Space::global && declaration.space != Space::constant) {
    cursor.fail("variable '", name, "' of a space that modules do not have");
  }
  if (declaration.is_extern) cursor.fail("extern variable '", name, "' needs another module");
  Variable& variable = module.variables[name];
  variable.name = name;
  variable.space = declaration.space;
  variable.bytes = declaration.bytes;
  variable.alignment = declaration.alignment;
  variable.initial = std::move(declaration.initial);
  variable.pointers = std::move(declaration.pointers);
}

bool begins_function(const Cursor& cursor) {
  size_t ahead = 0;
  while (cursor.peek(ahead).is_dotted("visible") || cursor.peek(ahead).is_dotted("extern") ||
         cursor.peek(ahead).is_dotted("weak")) {
    ++ahead;
  }
  return cursor.peek(ahead).is_dotted("entry") || cursor.peek(ahead).is_dotted("func");
}

void parse_top_level(Cursor& cursor, Module& module, Functions& functions) {
  if (begins_function(cursor)) {
    while (!cursor.peek().is_dotted("entry") && !cursor.peek().is_dotted("func")) cursor.next();
    parse_function(cursor, module, functions);
  } else if (begins_declaration(cursor)) {
    parse_variable(cursor, module, functions);
  } else if (cursor.accept_dotted("version")) {
    cursor.expect_integer();
    if (cursor.peek().kind == Token::Kind::dotted) cursor.next();  // 9.0 reads as 9 and .0
  } else if (cursor.accept_dotted("target")) {
    parse_target(cursor, module);
  } else if (cursor.accept_dotted("address_size")) {
    if (cursor.expect_integer() != 64) cursor.fail("only addresses of 64 bits are supported");
  } else if (cursor.accept_dotted("file")) {
    parse_file(cursor, module);
  } else if (cursor.accept_dotted("section")) {
    cursor.next();
    cursor.skip_block();
  } else if (cursor.accept_dotted("pragma")) {
    cursor.skip_until(';');
  } else {
    cursor.fail("'", cursor.peek().text, "' is not known at the top level");
  }
}

bool names(const Operand& operand, const std::string& variable) {
  return operand.variable != nullptr && operand.variable->name == variable;
}

}  // namespace

void Module::bind(const std::string& variable, uint64_t address) {
  const auto found = variables.find(variable);
  if (found == variables.end()) throw std::runtime_error("module has no variable '" + variable + "'");
  found->second.address = address;
  for (auto& [name, other] : variables) {
    for (const Variable::Pointer& pointer : other.pointers) {
      if (pointer.variable != variable) continue;
      const uint64_t value = address + pointer.addend;
      std::memcpy(other.initial.data() + pointer.offset, &value, sizeof value);
    }
  }
  for (auto& [name, kernel] : kernels) {
    kernel.program.reset();
    for (Instruction& instruction : kernel.code) {
      for (Operand& operand : instruction.operands) {
        if (names(operand, variable)) operand.value = address;
      }
    }
  }
}

std::unique_ptr<Module> parse(std::string_view text, const std::string& name) {
  auto module = std::make_unique<Module>();
  module->files.emplace_back();
  Cursor cursor(text, name);
  Functions functions;
  while (!cursor.at_end()) parse_top_level(cursor, *module, functions);
  if (module->target == 0) cursor.fail("no .target: this is not PTX");
  link(functions, *module, name);
  return module;
}

}  // namespace simulated_gpu::ptx
