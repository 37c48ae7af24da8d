#include "launch/slurm/batch_script.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <regex>
#include <set>
#include <sstream>

namespace tessera {
namespace {

constexpr std::string_view kOperators = ";&|(){}\n", kWordEnds = " \t\r<>;&|(){}\n";

bool is_assignment(const std::string& word) {
  const size_t name =
      word.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
  return name != std::string::npos && name > 0 && word[name] == '=' &&
         !std::isdigit(static_cast<unsigned char>(word[0]));
}

/// Splits the text of a script into commands, character by character.
class CommandReader {
 public:
  explicit CommandReader(const std::string& text) : text_(text) {}

  std::vector<ShellCommand> read() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
        ++line_, at_ += 2;
      } else if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '<' && text_.compare(at_, 2, "<<") == 0 && text_.compare(at_, 3, "<<<") != 0) {
        read_here_document_word();
      } else if (c == '<' || c == '>' || text_.compare(at_, 2, "&>") == 0) {
        skip_redirection();
      } else if (kOperators.find(c) != kOperators.npos) {
        read_operator();
      } else if (c == ' ' || c == '\t' || c == '\r') {
        ++at_;
      } else {
        read_word();
      }
    }
    end_command();
    return std::move(commands_);
  }

 private:
  void read_operator() {
    const char c = text_[at_];
    const bool twice = at_ + 1 < text_.size() && text_[at_ + 1] == c && c != '\n';
    command_.background = c == '&' && !twice;
    end_command();
    at_ += twice ? 2 : 1;
    if (c != '\n') return;
    ++line_;
    if (!here_document_.empty()) skip_here_document();
  }

  void read_word() {
    static const std::set<std::string> kReserved{"if",   "then",  "elif",  "else", "fi",    "do",
                                                 "done", "while", "until", "for",  "case",  "esac",
                                                 "in",   "!",     "time",  "exec", "nohup", "env"};
    const int line = line_;
    const std::string word = word_text();
    const bool descriptor =
        at_ < text_.size() && (text_[at_] == '<' || text_[at_] == '>') && whole_number(word);
    if (descriptor) return;  // the 2 of 2>&1
    if (command_.words.empty()) {
      command_.line = line;
      if (kReserved.contains(word)) return;
      if (is_assignment(word)) {
        const size_t equals = word.find('=');
        command_.variables[word.substr(0, equals)] = word.substr(equals + 1);
        return;
      }
    }
    command_.words.push_back(word);
  }

  /// Up to a blank or an operator that is not quoted and not inside $( ) or ${ }.
  std::string word_text() {
    std::string word;
    int depth = 0;
    for (char quote = 0; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') ++line_;
      if (quote != 0 && c == quote) {
        quote = 0;
        continue;
      }
      if (c == '\\' && quote != '\'' && at_ + 1 < text_.size()) {
        ++at_;
        if (text_[at_] == '\n')
          ++line_;
        else
          word += text_[at_];
        continue;
      }
      if (quote != 0) {
        word += c;
        continue;
      }
      if (c == '\'' || c == '"') {
        quote = c;
        continue;
      }
      if (depth > 0 ||
          (c == '$' && at_ + 1 < text_.size() && (text_[at_ + 1] == '(' || text_[at_ + 1] == '{'))) {
        if (c == '$' && depth == 0) word += text_[at_++];
        depth += text_[at_] == '(' || text_[at_] == '{';
        depth -= text_[at_] == ')' || text_[at_] == '}';
        word += text_[at_];
        continue;
      }
      if (kWordEnds.find(c) != kWordEnds.npos) {
        if (c == '\n') --line_;  // the operator counts it
        break;
      }
      word += c;
    }
    return word;
  }

  /// With the file, descriptor or text behind it.
  void skip_redirection() {
    at_ = std::min(text_.find_first_not_of("<>&| \t", at_), text_.size());
    word_text();
  }

  void read_here_document_word() {
    at_ += text_.compare(at_, 3, "<<-") == 0 ? 3 : 2;
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    here_document_ = word_text();
  }

  void skip_here_document() {
    while (at_ < text_.size()) {
      const size_t end = std::min(text_.find('\n', at_), text_.size());
      std::string line = text_.substr(at_, end - at_);
      line.erase(0, line.find_first_not_of('\t'));
      at_ = std::min(end + 1, text_.size());
      ++line_;
      if (line == here_document_) break;
    }
    here_document_.clear();
  }

  void end_command() {
    if (!command_.words.empty() || !command_.variables.empty()) commands_.push_back(command_);
    command_ = {};
  }

  const std::string& text_;
  size_t at_ = 0;
  int line_ = 1;
  ShellCommand command_;
  std::string here_document_;
  std::vector<ShellCommand> commands_;
};

/// Words of a #SBATCH line: blanks part them, quotes hold them together, # starts a comment.
std::vector<std::string> directive_words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;
  char quote = 0;
  for (const char c : text) {
    if (quote == 0 && c == '#' && !inside) break;
    const bool blank = quote == 0 && (c == ' ' || c == '\t' || c == '\r');
    if (blank) {
      if (inside) words.push_back(word);
      word.clear();
      inside = false;
      continue;
    }
    inside = true;
    if (quote == 0 && (c == '"' || c == '\''))
      quote = c;
    else if (c == quote)
      quote = 0;
    else
      word += c;
  }
  if (inside) words.push_back(word);
  return words;
}

}  // namespace

const Directive* BatchScript::find(std::string_view name) const {
  const auto last = std::find_if(directives.rbegin(), directives.rend(),
                                 [&](const Directive& directive) { return directive.option.name == name; });
  return last == directives.rend() ? nullptr : &*last;
}

std::optional<int64_t> BatchScript::number(std::string_view name) const {
  const Directive* directive = find(name);
  return directive ? whole_number(directive->option.value) : std::nullopt;
}

BatchScript read_batch_script(const std::string& text) {
  BatchScript script;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) script.lines.push_back(line);
  for (size_t i = 0; i < script.lines.size(); ++i) {
    const std::string& line = script.lines[i];
    if (line.starts_with("#SBATCH")) {
      for (GivenOption& option : read_sbatch_options(directive_words(line.substr(7))))
        script.directives.push_back({static_cast<int>(i + 1), std::move(option)});
      if (!script.directives.empty() && script.directives.back().option.name == kNextPart) break;
    } else if (const size_t begin = line.find_first_not_of(" \t\r");
               begin != std::string::npos && line[begin] != '#') {
      break;
    }
  }
  script.commands = CommandReader(text).read();
  return script;
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<int64_t> slurm_seconds(const std::string& text) {
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "unlimited" || lower == "infinite") return std::numeric_limits<int64_t>::max();
  static const std::regex form("^(([0-9]{1,9})-)?([0-9]{1,9})(:([0-9]{1,9}))?(:([0-9]{1,9}))?$",
                               std::regex::extended);
  std::smatch part;
  if (!std::regex_match(text, part, form)) return std::nullopt;
  const auto value = [&](size_t group) { return part[group].matched ? std::stoll(part[group]) : 0; };
  if (part[2].matched) return value(2) * 86400 + value(3) * 3600 + value(5) * 60 + value(7);
  if (part[7].matched) return value(3) * 3600 + value(5) * 60 + value(7);
  return value(3) * 60 + value(5);
}

}  // namespace tessera
