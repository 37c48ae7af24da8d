#include "runtime/json.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <utility>

#include "runtime/replace_file.h"

namespace tessera {

Json read_json(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  TESSERA_CHECK(in && !std::filesystem::is_directory(path), path, ": cannot be opened");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const size_t end = std::min(text.size(), error.byte ? error.byte - 1 : 0);
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<int64_t>(end), '\n');
    const size_t start = text.rfind('\n', end ? end - 1 : 0);
    const size_t column = start == std::string::npos || line == 1 ? end + 1 : end - start;
    throw Error(str(path, ": not valid JSON at line ", line, ", column ", column));
  }
}

void write_json(const std::string& path, const Json& json) { replace_file(path, json.dump(2) + '\n'); }

void set_path(Json& json, const std::string& path, const std::string& text) {
  Json* at = &json;
  size_t begin = 0;
  for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
    at = &(*at)[path.substr(begin, dot - begin)];
    TESSERA_CHECK(at->is_object() || at->is_null(), "override ", path, ": ", path.substr(0, dot),
                  " is not an object");
    begin = dot + 1;
  }
  const Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  (*at)[path.substr(begin)] = value.is_discarded() ? Json(text) : value;
}

std::string nearest(const std::string& name, const std::vector<std::string>& candidates) {
  auto distance = [&](const std::string& other) {
    std::vector<size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i);
      for (size_t j = 1; j <= other.size(); ++j) {
        const size_t cost = diagonal + (name[i - 1] != other[j - 1]);
        diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, cost}));
      }
    }
    return row.back();
  };
  TESSERA_CHECK(!candidates.empty(), "nearest: no candidates for ", name);
  return *std::min_element(candidates.begin(), candidates.end(),
                           [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
}

namespace detail {

void wrong_type(const std::string& where, const std::string& key, const char* expected, const Json& got) {
  throw Error(str(where, ": ", key.empty() ? "the top level" : key, " must be ", expected, ", got ",
                  got.dump().substr(0, 80)));
}

void check_range(const std::string& where, const std::string& key, double value, double least, double most) {
  TESSERA_CHECK(value >= least && value <= most, where, ": ", key, " must be in [", digits_of(least), ", ",
                digits_of(most), "], got ", digits_of(value));
}

void check_choice(const std::string& where, const std::string& key, const std::string& value,
                  const char* note) {
  const std::string text = note;
  if (!text.starts_with("one of ")) return;
  const std::string choices = text.substr(7, text.find(':') - 7);
  size_t begin = 0;
  while (begin <= choices.size()) {
    const size_t end = std::min(choices.find('|', begin), choices.size());
    if (choices.compare(begin, end - begin, value) == 0) return;
    begin = end + 1;
  }
  throw Error(str(where, ": ", key, " must be one of ", choices, ", got \"", value, "\""));
}

std::string digits_of(double value) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

double shortest(float value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  double result = value;
  std::from_chars(digits, end, result);  // leaves inf and nan as they are
  return result;
}

void unknown_key(const std::string& where, const std::string& key, const std::vector<std::string>& known) {
  const size_t dot = key.rfind('.');
  const std::string prefix = dot == std::string::npos ? "" : key.substr(0, dot + 1);
  const std::string name = dot == std::string::npos ? key : key.substr(dot + 1);
  throw Error(
      str(where, ": unknown key \"", key, "\"; did you mean \"", prefix, nearest(name, known), "\"?"));
}

}  // namespace detail
}  // namespace tessera
