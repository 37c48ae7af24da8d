#pragma once
// Structs with fields() <-> JSON.  Reading is strict: an unknown key is an error that names the nearest known one, and a
// value of the wrong type or out of its field's range is an error that names file, key and value.

#include <algorithm>
#include <concepts>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "runtime/fields.h"

namespace tessera {

using Json = nlohmann::ordered_json;

/// Parses a file.  Throws Error naming the file, and line and column of a syntax error.
Json read_json(const std::string& path);
/// As replace_file does (runtime/replace_file.h).
void write_json(const std::string& path, const Json& json);

/// Sets the value at a dotted path: set_path(json, "model.width", "256").  text is JSON where it parses, else a string.
/// Throws Error when a step of the path is not an object.
void set_path(Json& json, const std::string& path, const std::string& text);

/// The candidate with the least edit distance.
std::string nearest(const std::string& name, const std::vector<std::string>& candidates);

namespace detail {

[[noreturn]] void wrong_type(const std::string& where, const std::string& key, const char* expected,
                             const Json& got);
void check_range(const std::string& where, const std::string& key, double value, double least, double most);
/// Enforces the "one of a|b|c" form of a note.
void check_choice(const std::string& where, const std::string& key, const std::string& value,
                  const char* note);
[[noreturn]] void unknown_key(const std::string& where, const std::string& key,
                              const std::vector<std::string>& known);

/// The fewest digits that read back as this number.
std::string digits_of(double value);

/// The number with the fewest digits that reads back as this float: 0.1 rather than 0.10000000149011612.
double shortest(float value);

inline std::string join(const std::string& prefix, const char* name) {
  return prefix.empty() ? name : prefix + "." + name;
}

template <class T>
void read_value(const Json& json, const std::string& where, const std::string& key, const auto& field,
                T& value) {
  if constexpr (HasFields<T>) {
    if (!json.is_object()) wrong_type(where, key, "an object", json);
    std::vector<std::string> known;
    for_each_field(value, [&](auto member) { known.push_back(member.name); });
    for (const auto& [name, unused] : json.items())
      if (std::find(known.begin(), known.end(), name) == known.end())
        unknown_key(where, key.empty() ? name : key + "." + name, known);
    for_each_field(value, [&](auto member) {
      if (json.contains(member.name))
        read_value(json[member.name], where, join(key, member.name), member, member.value);
    });
  } else if constexpr (std::same_as<T, bool>) {
    if (!json.is_boolean()) wrong_type(where, key, "true or false", json);
    value = json.get<bool>();
  } else if constexpr (std::integral<T>) {
    if (!json.is_number_integer()) wrong_type(where, key, "a whole number", json);
    if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t(std::numeric_limits<T>::max()))
      wrong_type(where, key, "a smaller whole number", json);
    check_range(where, key, json.get<double>(), std::max(field.least, double(std::numeric_limits<T>::min())),
                field.most);
    value = json.get<T>();
  } else if constexpr (std::floating_point<T>) {
    if (!json.is_number()) wrong_type(where, key, "a number", json);
    // Before a float rounds it out of the range.
    check_range(where, key, json.get<double>(), field.least, field.most);
    value = json.get<T>();
  } else if constexpr (std::same_as<T, std::string>) {
    if (!json.is_string()) wrong_type(where, key, "a string", json);
    value = json.get<std::string>();
    check_choice(where, key, value, field.note);
  } else if constexpr (requires { typename T::mapped_type; }) {
    if (!json.is_object()) wrong_type(where, key, "an object", json);
    value.clear();
    for (const auto& [name, item] : json.items())
      read_value(item, where, key + "." + name, field, value[name]);
  } else {
    if (!json.is_array()) wrong_type(where, key, "an array", json);
    value.clear();
    for (size_t i = 0; i < json.size(); ++i)
      read_value(json[i], where, key + "[" + std::to_string(i) + "]", field, value.emplace_back());
  }
}

template <class T>
Json write_value(T& value) {
  if constexpr (HasFields<T>) {
    Json json = Json::object();
    for_each_field(value, [&](auto member) { json[member.name] = write_value(member.value); });
    return json;
  } else if constexpr (requires { typename T::mapped_type; }) {
    Json json = Json::object();
    for (auto& [name, item] : value) json[name] = write_value(item);
    return json;
  } else if constexpr (!std::same_as<T, std::string> && requires { value.begin(); }) {
    Json json = Json::array();
    for (auto& item : value) json.push_back(write_value(item));
    return json;
  } else if constexpr (std::same_as<T, float>) {
    return shortest(value);
  } else {
    return value;
  }
}

}  // namespace detail

/// Overwrites the members that json names.  where is the file (or origin) for messages.
template <HasFields T>
void from_json(const Json& json, const std::string& where, T& object) {
  detail::read_value(json, where, "", Field{"", object}, object);
}

template <HasFields T>
Json to_json(T& object) {
  return detail::write_value(object);
}

/// One line per leaf: dotted key, default, range, note.
template <HasFields T>
std::string describe(T& object, const std::string& prefix = "") {
  std::string text;
  for_each_field(object, [&](auto member) {
    using Value = std::remove_reference_t<decltype(member.value)>;
    const std::string key = detail::join(prefix, member.name);
    if constexpr (HasFields<Value>) {
      text += describe(member.value, key);
    } else {
      constexpr double kNone = std::numeric_limits<double>::infinity();
      std::string range;
      if (member.least > -kNone && member.most < kNone)
        range = str(" [", detail::digits_of(member.least), ", ", detail::digits_of(member.most), "]");
      else if (member.least > -kNone)
        range = str(" [", detail::digits_of(member.least), ", ...)");
      text += str("  ", key, " = ", detail::write_value(member.value).dump(), range, "\n      ", member.note,
                  "\n");
    }
  });
  return text;
}

}  // namespace tessera
