#include "tests/simulated_gpu/ptx/function.h"

#include <algorithm>
#include <iterator>

#include "tests/simulated_gpu/ptx/scope.h"

namespace simulated_gpu::ptx {
namespace {

class FunctionParser {
 public:
  FunctionParser(Cursor& cursor, Module& module, Functions& functions)
      : cursor_(cursor), module_(module), functions_(functions) {}

  void run() {
    function_.is_entry = cursor_.next().is_dotted("entry");
    scopes_.enter();
    if (cursor_.peek().is('(')) parse_parameters(function_.results);
    function_.name = cursor_.expect_word();
    if (cursor_.peek().is('(')) parse_parameters(function_.parameters);
    parse_directives();
    if (cursor_.accept(';')) return;
    cursor_.expect('{');
    while (!scopes_.is_empty()) parse_statement();
    functions_.all[function_.name] = std::move(function_);
  }

 private:
  void parse_parameters(std::vector<Parameter>& list) {
    cursor_.expect('(');
    while (!cursor_.accept(')')) {
      const Declaration declaration = parse_declaration(cursor_);
      uint32_t& bytes = function_.is_entry ? function_.parameter_bytes : function_.frame_bytes;
      const Space space = function_.is_entry ? Space::parameter : Space::frame;
      const uint32_t offset = declare_variable(declaration, space, bytes);
      list.push_back({offset, static_cast<uint32_t>(declaration.bytes)});
      cursor_.accept(',');
    }
  }

  void parse_directives() {
    while (cursor_.peek().kind == Token::Kind::dotted) {
      const std::string_view word = cursor_.next().text;
      constexpr std::string_view kWithValues[] = {"maxntid", "reqntid", "minnctapersm", "maxnctapersm",
                                                  "maxnreg"};
      if (std::ranges::find(kWithValues, word) != std::end(kWithValues)) {
        uint32_t product = 1;
        do {
          product *= static_cast<uint32_t>(cursor_.expect_integer());
        } while (cursor_.accept(','));
        if (word == "maxntid" || word == "reqntid") function_.max_threads = product;
      } else if (word == "pragma") {
        cursor_.skip_until(';');
      } else if (word != "noreturn" && word != "local_maxnreg") {
        cursor_.fail("'.", word, "' is not known before the body of a function");
      }
    }
  }

  /// Takes a place at the end of what `bytes` counts.
  uint32_t declare_variable(const Declaration& declaration, Space space, uint32_t& bytes) {
    const auto offset = static_cast<uint32_t>(align_up(bytes, declaration.alignment));
    bytes = offset + static_cast<uint32_t>(declaration.bytes);
    declare_symbol(declaration.name, space, offset);
    return offset;
  }

  void declare_symbol(std::string_view name, Space space, uint64_t value) {
    Operand symbol;
    symbol.kind = Operand::Kind::symbol;
    symbol.space = space;
    symbol.value = value;
    scopes_.declare(name, symbol);
  }

  void parse_statement() {
    const Token& token = cursor_.peek();
    if (cursor_.at_end()) cursor_.fail("the text ends inside a function");
    if (cursor_.accept('{')) {
      scopes_.enter();
    } else if (cursor_.accept('}')) {
      leave_scope();
    } else if (cursor_.accept(';')) {
      return;
    } else if (token.kind == Token::Kind::word && cursor_.peek(1).is(':')) {
      parse_label();
    } else if (token.kind == Token::Kind::dotted) {
      parse_directive();
    } else {
      parse_instruction();
    }
  }

  void leave_scope() {
    const int line = cursor_.peek().line;
    const std::string_view missing = scopes_.leave(function_.code);
    if (!missing.empty()) cursor_.fail_at(line, "label '", missing, "' is not defined");
    if (!scopes_.is_empty()) return;
    // A body may end without a ret.
    Instruction end;
    end.text = "ret; (end of " + function_.name + ")";
    end.opcode = Opcode::ret;
    end.ptx_line = line;
    function_.code.push_back(std::move(end));
  }

  void parse_label() {
    const std::string_view name = cursor_.expect_word();
    cursor_.expect(':');
    if (!cursor_.accept_dotted("branchtargets")) {
      scopes_.define_label(name, static_cast<int>(function_.code.size()));
      return;
    }
    std::vector<std::string_view> labels;
    do {
      labels.push_back(cursor_.expect_word());
    } while (cursor_.accept(','));
    cursor_.expect(';');
    scopes_.define_table(name, std::move(labels));
  }

  void parse_directive() {
    if (cursor_.accept_dotted("reg")) {
      parse_registers();
    } else if (cursor_.accept_dotted("loc")) {
      position_ = parse_loc(cursor_);
    } else if (cursor_.accept_dotted("pragma")) {
      cursor_.skip_until(';');
    } else if (begins_declaration(cursor_)) {
      parse_variable();
    } else {
      cursor_.fail("directive '.", cursor_.peek().text, "' is not known inside a function");
    }
  }

  void parse_variable() {
    const Declaration declaration = parse_declaration(cursor_);
    cursor_.expect(';');
    switch (declaration.space) {
      case Space::local:
        declare_variable(declaration, Space::local, function_.local_bytes);
        break;
      case Space::parameter:
        declare_variable(declaration, Space::frame, function_.frame_bytes);
        break;
      case Space::shared:
        declare_symbol(declaration.name, Space::shared, functions_.shared.size());
        functions_.shared.push_back({declaration.bytes, declaration.alignment, declaration.is_extern});
        break;
      default:
        cursor_.fail("a variable of this space cannot be declared inside a function");
    }
  }

  void parse_registers() {
    const std::string_view word = cursor_.next().text;
    const auto type = find_type(word);
    if (!type) cursor_.fail("registers of type '.", word, "' are not known");
    do {
      const std::string_view name = cursor_.expect_word();
      const auto first = static_cast<int>(function_.registers.size());
      int count = 1;
      if (cursor_.accept('<')) {
        count = static_cast<int>(cursor_.expect_integer());
        cursor_.expect('>');
        scopes_.declare_range(name, first, count);
      } else {
        Operand operand;
        operand.kind = Operand::Kind::reg;
        operand.value = static_cast<uint64_t>(first);
        scopes_.declare(name, operand);
      }
      function_.registers.resize(static_cast<size_t>(first + count), *type);
    } while (cursor_.accept(','));
    cursor_.expect(';');
  }

  void parse_instruction() {
    Instruction instruction;
    const size_t begin = cursor_.peek().offset;
    instruction.ptx_line = cursor_.peek().line;
    instruction.file = position_.file;
    instruction.line = position_.line;
    if (cursor_.accept('@')) {
      instruction.is_guard_negated = cursor_.accept('!');
      const Operand guard = scopes_.find(cursor_.peek().text);
      if (guard.kind != Operand::Kind::reg) cursor_.fail("'", cursor_.peek().text, "' is no register");
      cursor_.next();
      instruction.guard = static_cast<int>(guard.value);
    }
    parse_words(instruction);
    if (instruction.opcode == Opcode::bra) {
      scopes_.use_label(cursor_.expect_word(), static_cast<int>(function_.code.size()), -1);
    } else if (instruction.opcode == Opcode::call) {
      parse_call(instruction);
    } else if (instruction.opcode == Opcode::brx) {
      parse_indexed_branch(instruction);
    } else {
      parse_operands(instruction);
    }
    if (!cursor_.peek().is(';')) {
      cursor_.fail("'", cursor_.peek().text, "' is not understood in '", cursor_.text_since(begin), "'");
    }
    instruction.text = cursor_.text_since(begin);
    cursor_.next();
    function_.code.push_back(std::move(instruction));
  }

  void parse_words(Instruction& instruction) {
    const std::string_view word = cursor_.expect_word();
    const auto opcode = find_opcode(word);
    if (!opcode) cursor_.fail("instruction '", word, "' is not known");
    instruction.opcode = *opcode;
    size_t types = 0;
    while (cursor_.peek().kind == Token::Kind::dotted) {
      const std::string_view text = cursor_.next().text;
      if (const auto type = find_type(text)) {
        if (types == instruction.types.size()) cursor_.fail("more types than any instruction has");
        instruction.types[types++] = *type;
      } else if (const auto modifier = find_modifier(text)) {
        instruction.modifiers.set(static_cast<size_t>(*modifier));
      } else {
        cursor_.fail("'.", text, "' is not known after '", word, "'");
      }
    }
  }

  void parse_operands(Instruction& instruction) {
    if (cursor_.peek().is(';')) return;
    do {
      instruction.operands.push_back(parse_operand());
      if (cursor_.accept('|')) instruction.paired = parse_operand();
    } while (cursor_.accept(','));
  }

  Operand parse_operand() {
    if (cursor_.accept('{')) {
      Operand vector;
      vector.kind = Operand::Kind::vector;
      do {
        vector.elements.push_back(parse_operand());
      } while (cursor_.accept(','));
      cursor_.expect('}');
      return vector;
    }
    if (cursor_.accept('[')) {
      Operand address = parse_operand();
      address.is_address = true;
      cursor_.expect(']');
      return address;
    }
    if (cursor_.accept('!')) {
      Operand operand = parse_operand();
      operand.is_negated = true;
      return operand;
    }
    if (cursor_.peek().kind == Token::Kind::number || cursor_.peek().is('-')) return parse_immediate();
    Operand operand = parse_name();
    if (cursor_.accept('+')) operand.displacement = cursor_.expect_integer();
    return operand;
  }

  Operand parse_immediate() {
    Operand operand;
    operand.kind = Operand::Kind::immediate;
    const std::string_view text = cursor_.peek().text;
    const bool is_single = text.starts_with("0f") || text.starts_with("0F");
    if (is_single || text.starts_with("0d") || text.starts_with("0D")) {
      operand.literal = is_single ? Type::f32 : Type::f64;
      operand.value = std::stoull(std::string(text.substr(2)), nullptr, 16);
      cursor_.next();
    } else {
      operand.literal = Type::s64;
      operand.value = static_cast<uint64_t>(cursor_.expect_integer());
    }
    return operand;
  }

  Operand parse_name() {
    std::string_view name = cursor_.expect_word();
    Operand operand = scopes_.find(name);
    if (operand.kind != Operand::Kind::none) return operand;
    if (name == "_") {
      operand.kind = Operand::Kind::sink;
      return operand;
    }
    if (name == "WARP_SZ") {
      operand.kind = Operand::Kind::immediate;
      operand.literal = Type::s64;
      operand.value = 32;
      return operand;
    }
    if (const auto shared = functions_.module_shared.find(name); shared != functions_.module_shared.end()) {
      operand.kind = Operand::Kind::symbol;
      operand.space = Space::shared;
      operand.value = shared->second;
      return operand;
    }
    if (const auto variable = module_.variables.find(std::string(name));
        variable != module_.variables.end()) {
      operand.kind = Operand::Kind::symbol;
      operand.space = variable->second.space;
      operand.variable = &variable->second;
      return operand;
    }
    std::string full(name);
    if (name[0] == '%' && cursor_.peek().kind == Token::Kind::dotted)
      full += "." + std::string(cursor_.next().text);
    const auto special = find_special(full);
    if (!special) cursor_.fail("'", full, "' is not declared");
    operand.kind = Operand::Kind::special;
    operand.special = *special;
    return operand;
  }

  /// call.uni (results), name, (arguments): operands[0] are the results, operands[1] the arguments.
  void parse_call(Instruction& instruction) {
    instruction.operands.resize(2);
    for (Operand& list : instruction.operands) list.kind = Operand::Kind::vector;
    if (cursor_.peek().is('(')) {
      parse_call_list(instruction.operands[0]);
      cursor_.expect(',');
    }
    const std::string_view name = cursor_.expect_word();
    if (name[0] == '%') cursor_.fail("a call through a register is not supported");
    instruction.callee = name;
    if (cursor_.accept(',')) parse_call_list(instruction.operands[1]);
  }

  void parse_call_list(Operand& list) {
    cursor_.expect('(');
    while (!cursor_.accept(')')) {
      list.elements.push_back(parse_name());
      if (list.elements.back().space != Space::frame) cursor_.fail("calls pass .param variables only");
      cursor_.accept(',');
    }
  }

  /// brx.idx %r1, table;
  void parse_indexed_branch(Instruction& instruction) {
    instruction.operands.push_back(parse_operand());
    cursor_.expect(',');
    const std::string_view name = cursor_.expect_word();
    const auto* table = scopes_.find_table(name);
    if (table == nullptr) cursor_.fail("'", name, "' is no list of branch targets");
    instruction.targets.resize(table->size());
    for (size_t slot = 0; slot < table->size(); ++slot) {
      scopes_.use_label((*table)[slot], static_cast<int>(function_.code.size()), static_cast<int>(slot));
    }
  }

  Cursor& cursor_;
  Module& module_;
  Functions& functions_;
  Function function_;
  Scopes scopes_;
  SourcePosition position_;
};

}  // namespace

void parse_function(Cursor& cursor, Module& module, Functions& functions) {
  FunctionParser(cursor, module, functions).run();
}

SourcePosition parse_loc(Cursor& cursor) {
  SourcePosition position;
  position.file = static_cast<int>(cursor.expect_integer());
  position.line = static_cast<int>(cursor.expect_integer());
  cursor.expect_integer();  // the column
  while (cursor.accept(',')) {
    const std::string_view attribute = cursor.expect_word();
    if (attribute == "function_name") {
      cursor.expect_word();
      if (cursor.accept('+')) cursor.expect_integer();
    } else if (attribute == "inlined_at") {
      for (int number = 0; number < 3; ++number) cursor.expect_integer();
    } else {
      cursor.fail("'", attribute, "' is not known in .loc");
    }
  }
  return position;
}

}  // namespace simulated_gpu::ptx
