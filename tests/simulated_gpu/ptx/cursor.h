#pragma once
// A position in the tokens of a module, and the errors that name it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulated_gpu/ptx/lexer.h"

namespace simulated_gpu::ptx {

class Cursor {
 public:
  /// Text and name must outlive the cursor.
  Cursor(std::string_view text, const std::string& name);

  const Token& peek(size_t ahead = 0) const;
  const Token& next();
  bool at_end() const { return peek().kind == Token::Kind::end; }

  /// Steps over the token if it is the one named.
  bool accept(char punctuation);
  bool accept_dotted(std::string_view word);

  void expect(char punctuation);
  std::string_view expect_word();
  int64_t expect_integer();                     ///< with sign
  void skip_until(char punctuation);            ///< and over it
  void skip_block();                            ///< { ... } with what is nested in it
  std::string text_since(size_t offset) const;  ///< up to the current token, runs of blanks made one

  /// Throws std::runtime_error "name:line: parts".
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_at(peek().line, parts...);
  }
  template <class... Parts>
  [[noreturn]] void fail_at(int line, const Parts&... parts) const {
    std::string text;
    ((text += parts), ...);
    raise(line, text);
  }

 private:
  [[noreturn]] void raise(int line, const std::string& text) const;

  std::string_view text_;
  const std::string& name_;
  std::vector<Token> tokens_;
  size_t position_ = 0;
};

/// The bits of 42, 0x2A, 052, 0b11, with or without suffix U.  False when it is none of these.
bool parse_integer(std::string_view text, uint64_t& value);

}  // namespace simulated_gpu::ptx
