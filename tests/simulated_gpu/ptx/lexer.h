#pragma once
// Splits PTX text into tokens.

#include <string>
#include <string_view>
#include <vector>

namespace simulated_gpu::ptx {

struct Token {
  enum class Kind : uint8_t {
    word,         ///< add, %r1, $L__BB0_2
    dotted,       ///< .u32, .L2::128B: the text has no dot
    number,       ///< 42, 0x2A, 0f3F800000, with suffix U or without, never with a sign
    text,         ///< "..." without the quotes
    punctuation,  ///< one character
    end
  };
  Kind kind = Kind::end;
  std::string_view text;
  int line = 0;       ///< from 1
  size_t offset = 0;  ///< of the first character

  bool is(char character) const { return kind == Kind::punctuation && text[0] == character; }
  bool is_word(std::string_view word) const { return kind == Kind::word && text == word; }
  bool is_dotted(std::string_view word) const { return kind == Kind::dotted && text == word; }
};

/// The tokens view the text, which must outlive them; the last one is Kind::end.  Throws std::runtime_error
/// "name:line: ..." for a character that PTX does not have.
std::vector<Token> tokenize(std::string_view text, const std::string& name);

}  // namespace simulated_gpu::ptx
