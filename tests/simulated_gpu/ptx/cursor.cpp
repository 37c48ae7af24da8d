#include "tests/simulated_gpu/ptx/cursor.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <stdexcept>

namespace simulated_gpu::ptx {

Cursor::Cursor(std::string_view text, const std::string& name)
    : text_(text), name_(name), tokens_(tokenize(text, name)) {}

const Token& Cursor::peek(size_t ahead) const {
  return tokens_[std::min(position_ + ahead, tokens_.size() - 1)];
}

const Token& Cursor::next() {
  const Token& token = peek();
  if (token.kind == Token::Kind::end) fail("the text ends in the middle of a statement");
  ++position_;
  return token;
}

bool Cursor::accept(char punctuation) {
  if (!peek().is(punctuation)) return false;
  ++position_;
  return true;
}

bool Cursor::accept_dotted(std::string_view word) {
  if (!peek().is_dotted(word)) return false;
  ++position_;
  return true;
}

void Cursor::expect(char punctuation) {
  if (!accept(punctuation)) {
    fail("expected '", punctuation, "' but found '", peek().text, "'");
  }
}

std::string_view Cursor::expect_word() {
  if (peek().kind != Token::Kind::word) fail("expected a name but found '", peek().text, "'");
  return next().text;
}

int64_t Cursor::expect_integer() {
  const bool is_negative = accept('-');
  uint64_t value = 0;
  if (peek().kind != Token::Kind::number || !parse_integer(peek().text, value)) {
    fail("expected an integer but found '", peek().text, "'");
  }
  next();
  return static_cast<int64_t>(is_negative ? 0 - value : value);
}

void Cursor::skip_until(char punctuation) {
  while (!next().is(punctuation)) {
  }
}

void Cursor::skip_block() {
  expect('{');
  for (int depth = 1; depth > 0;) {
    const Token& token = next();
    if (token.is('{')) ++depth;
    if (token.is('}')) --depth;
  }
}

std::string Cursor::text_since(size_t offset) const {
  std::string result;
  for (const char c : text_.substr(offset, peek().offset - offset)) {
    const bool is_blank = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!is_blank) {
      result += c;
    } else if (!result.empty() && result.back() != ' ') {
      result += ' ';
    }
  }
  return result;
}

void Cursor::raise(int line, const std::string& text) const {
  throw std::runtime_error(name_ + ":" + std::to_string(line) + ": " + text);
}

bool parse_integer(std::string_view text, uint64_t& value) {
  if (text.ends_with('U')) text.remove_suffix(1);
  int radix = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    radix = 16;
  } else if (text.starts_with("0b") || text.starts_with("0B")) {
    radix = 2;
  } else if (text.size() > 1 && text[0] == '0') {
    radix = 8;
  }
  if (radix != 10) text.remove_prefix(radix == 8 ? 1 : 2);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, radix);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace simulated_gpu::ptx
