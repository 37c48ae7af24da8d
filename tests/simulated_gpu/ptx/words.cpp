#include "tests/simulated_gpu/ptx/words.h"

#include <unordered_map>

namespace simulated_gpu::ptx {
namespace {

/// The word of X(name) or of X(name, "word").
constexpr std::string_view word_of(std::string_view name) { return name; }
constexpr std::string_view word_of(std::string_view, std::string_view word) { return word; }

// Words by the number of their enumerator.
#define X(name, ...) word_of(#name __VA_OPT__(, ) __VA_ARGS__),
constexpr std::string_view kOpcodes[] = {TESSERA_PTX_OPCODES(X)};
constexpr std::string_view kTypes[] = {"", TESSERA_PTX_TYPES(X)};
constexpr std::string_view kSpecials[] = {TESSERA_PTX_SPECIALS(X)};
constexpr std::string_view kModifierWords[] = {TESSERA_PTX_MODIFIERS(X)};
#undef X

template <class Value, size_t count>
std::optional<Value> find(const std::string_view (&words)[count], std::string_view word) {
  // Never destroyed: modules that nothing was launched from are parsed while the process ends, for the profile.
  static const auto& numbers = *[&] {
    auto* map = new std::unordered_map<std::string_view, size_t>;
    for (size_t number = 0; number < count; ++number) map->emplace(words[number], number);
    return map;
  }();
  const auto found = numbers.find(word);
  return found == numbers.end() ? std::nullopt : std::optional(static_cast<Value>(found->second));
}

}  // namespace

std::optional<Opcode> find_opcode(std::string_view word) { return find<Opcode>(kOpcodes, word); }
std::optional<Type> find_type(std::string_view word) { return find<Type>(kTypes, word); }
std::optional<Special> find_special(std::string_view word) { return find<Special>(kSpecials, word); }
std::optional<Modifier> find_modifier(std::string_view word) { return find<Modifier>(kModifierWords, word); }
std::string_view name(Type type) { return kTypes[static_cast<size_t>(type)]; }
std::string_view name(Modifier modifier) { return kModifierWords[static_cast<size_t>(modifier)]; }

}  // namespace simulated_gpu::ptx
