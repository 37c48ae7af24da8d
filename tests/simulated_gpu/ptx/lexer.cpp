#include "tests/simulated_gpu/ptx/lexer.h"

#include <cctype>
#include <stdexcept>

namespace simulated_gpu::ptx {
namespace {

bool begins_word(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%';
}
bool continues_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$'; }

class Lexer {
 public:
  Lexer(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    tokens.reserve(text_.size() / 4);
    do {
      skip_space();
      tokens.push_back(next());
    } while (tokens.back().kind != Token::Kind::end);
    return tokens;
  }

 private:
  char at(size_t position) const { return position < text_.size() ? text_[position] : '\0'; }

  void skip_space() {
    while (position_ < text_.size()) {
      if (text_[position_] == '\n') {
        ++line_;
        ++position_;
      } else if (std::isspace(static_cast<unsigned char>(text_[position_])) || text_[position_] == '\0') {
        ++position_;
      } else if (at(position_) == '/' && at(position_ + 1) == '/') {
        position_ = std::min(text_.find('\n', position_), text_.size());
      } else if (at(position_) == '/' && at(position_ + 1) == '*') {
        const size_t end = text_.find("*/", position_ + 2);
        if (end == std::string_view::npos) fail("a comment does not end");
        for (; position_ < end + 2; ++position_) line_ += text_[position_] == '\n';
      } else {
        return;
      }
    }
  }

  Token take(Token::Kind kind, size_t begin, size_t end, size_t resume) {
    Token token{kind, text_.substr(begin, end - begin), line_, position_};
    position_ = resume;
    return token;
  }

  Token next() {
    if (position_ >= text_.size()) return take(Token::Kind::end, text_.size(), text_.size(), text_.size());
    const char first = text_[position_];
    size_t end = position_ + 1;
    if (begins_word(first)) {
      while (continues_word(at(end))) ++end;
      return take(Token::Kind::word, position_, end, end);
    }
    if (std::isdigit(static_cast<unsigned char>(first))) {
      while (std::isalnum(static_cast<unsigned char>(at(end)))) ++end;
      return take(Token::Kind::number, position_, end, end);
    }
    if (first == '.' && (std::isalnum(static_cast<unsigned char>(at(end))) || at(end) == '_')) {
      while (continues_word(at(end)) || (at(end) == ':' && at(end + 1) == ':')) end += at(end) == ':' ? 2 : 1;
      return take(Token::Kind::dotted, position_ + 1, end, end);
    }
    if (first == '"') {
      end = text_.find('"', end);
      if (end == std::string_view::npos) fail("a string does not end");
      return take(Token::Kind::text, position_ + 1, end, end + 1);
    }
    if (std::string_view("{}()[]<>,;:=+-@!|").find(first) == std::string_view::npos) {
      fail(std::string("'") + first + "' is no character of PTX");
    }
    return take(Token::Kind::punctuation, position_, end, end);
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(name_ + ":" + std::to_string(line_) + ": " + what);
  }

  std::string_view text_;
  const std::string& name_;
  size_t position_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<Token> tokenize(std::string_view text, const std::string& name) {
  return Lexer(text, name).run();
}

}  // namespace simulated_gpu::ptx
