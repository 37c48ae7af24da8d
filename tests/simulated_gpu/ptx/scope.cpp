#include "tests/simulated_gpu/ptx/scope.h"

#include <charconv>

namespace simulated_gpu::ptx {

Operand Scopes::find(std::string_view name) const {
  const size_t digits = name.find_last_not_of("0123456789") + 1;
  int number = -1;
  std::from_chars(name.data() + digits, name.data() + name.size(), number);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto symbol = scope->symbols.find(name); symbol != scope->symbols.end()) return symbol->second;
    if (number < 0) continue;
    const auto range = scope->ranges.find(name.substr(0, digits));
    if (range != scope->ranges.end() && number < range->second.second) {
      Operand operand;
      operand.kind = Operand::Kind::reg;
      operand.value = static_cast<uint64_t>(range->second.first + number);
      return operand;
    }
  }
  return {};
}

const std::vector<std::string_view>* Scopes::find_table(std::string_view name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto table = scope->tables.find(name); table != scope->tables.end()) return &table->second;
  }
  return nullptr;
}

std::string_view Scopes::leave(std::vector<Instruction>& code) {
  Scope scope = std::move(scopes_.back());
  scopes_.pop_back();
  for (const Use& use : scope.uses) {
    const auto label = scope.labels.find(use.label);
    if (label == scope.labels.end()) {
      if (scopes_.empty()) return use.label;
      scopes_.back().uses.push_back(use);
      continue;
    }
    Instruction& instruction = code[static_cast<size_t>(use.position)];
    (use.slot < 0 ? instruction.target : instruction.targets[static_cast<size_t>(use.slot)]) = label->second;
  }
  return {};
}

}  // namespace simulated_gpu::ptx
