#include "tests/simulated_gpu/ptx/declaration.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace simulated_gpu::ptx {
namespace {

std::optional<Space> find_space(std::string_view word) {
  if (word == "global") return Space::global;
  if (word == "shared") return Space::shared;
  if (word == "local") return Space::local;
  if (word == "const") return Space::constant;
  if (word == "param") return Space::parameter;
  return std::nullopt;
}

bool is_linkage(const Token& token) {
  return token.is_dotted("extern") || token.is_dotted("visible") || token.is_dotted("weak") ||
         token.is_dotted("common");
}

/// `.ptr .global .align 16`: what is known of the pointer that a parameter holds; of no use here.
void skip_pointer_attributes(Cursor& cursor) {
  while (find_space(cursor.peek().text) && cursor.peek().kind == Token::Kind::dotted) cursor.next();
  if (cursor.accept_dotted("align")) cursor.expect_integer();
}

/// One element: a number, or the address of a variable as `generic(name)`, `generic(name)+4` or `name`.
void parse_element(Cursor& cursor, Declaration& declaration, uint64_t offset, Type type) {
  const uint32_t bytes = bytes_of(type);
  if (offset + bytes > declaration.initial.size()) cursor.fail("more initial values than elements");
  uint64_t value = 0;
  if (cursor.peek().kind == Token::Kind::word) {
    std::string_view name = cursor.expect_word();
    if (cursor.accept('(')) {
      if (name != "generic") cursor.fail("'", name, "(...)' is not known as initial value");
      name = cursor.expect_word();
      cursor.expect(')');
    }
    const auto addend = cursor.accept('+') ? static_cast<uint64_t>(cursor.expect_integer()) : 0;
    if (bytes != 8) cursor.fail("the address of a variable needs 8 bytes");
    declaration.pointers.push_back({offset, std::string(name), addend});
    return;
  }
  const std::string_view text = cursor.peek().text;
  if (text.starts_with("0f") || text.starts_with("0F") || text.starts_with("0d") || text.starts_with("0D")) {
    value = std::stoull(std::string(text.substr(2)), nullptr, 16);
    cursor.next();
  } else {
    value = static_cast<uint64_t>(cursor.expect_integer());
  }
  std::memcpy(declaration.initial.data() + offset, &value, bytes);
}

void parse_initial(Cursor& cursor, Declaration& declaration, Type type) {
  declaration.initial.resize(declaration.bytes);
  if (!cursor.accept('{')) {
    parse_element(cursor, declaration, 0, type);
    return;
  }
  int depth = 1;
  for (uint64_t offset = 0; depth > 0;) {
    if (cursor.accept('{')) {
      ++depth;
    } else if (cursor.accept('}')) {
      --depth;
    } else if (!cursor.accept(',')) {
      parse_element(cursor, declaration, offset, type);
      offset += bytes_of(type);
    }
  }
}

}  // namespace

bool begins_declaration(const Cursor& cursor) {
  size_t ahead = 0;
  while (is_linkage(cursor.peek(ahead))) ++ahead;
  return cursor.peek(ahead).kind == Token::Kind::dotted && find_space(cursor.peek(ahead).text).has_value();
}

Declaration parse_declaration(Cursor& cursor) {
  Declaration declaration;
  Type type = Type::none;
  while (is_linkage(cursor.peek())) declaration.is_extern |= cursor.next().is_dotted("extern");
  while (cursor.peek().kind == Token::Kind::dotted) {
    const std::string_view word = cursor.next().text;
    if (const auto space = find_space(word)) {
      declaration.space = *space;
    } else if (const auto found = find_type(word)) {
      type = *found;
    } else if (word == "align") {
      declaration.alignment = static_cast<uint32_t>(cursor.expect_integer());
    } else if (word == "ptr") {
      skip_pointer_attributes(cursor);
    } else {
      cursor.fail("'.", word, "' is not known in a declaration");
    }
  }
  if (bytes_of(type) == 0) cursor.fail("a declaration without a type");
  declaration.name = cursor.expect_word();
  declaration.bytes = bytes_of(type);
  while (cursor.accept('[')) {
    declaration.bytes *= cursor.peek().is(']') ? 0 : static_cast<uint64_t>(cursor.expect_integer());
    cursor.expect(']');
  }
  declaration.alignment = std::max(declaration.alignment, bytes_of(type));
  if (cursor.accept('=')) parse_initial(cursor, declaration, type);
  return declaration;
}

}  // namespace simulated_gpu::ptx
