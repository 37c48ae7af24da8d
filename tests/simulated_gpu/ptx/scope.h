#pragma once
// Names inside a function: registers, variables and labels of nested { } scopes, in which inner names hide
// outer ones.

#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/simulated_gpu/ptx/instruction.h"

namespace simulated_gpu::ptx {

class Scopes {
 public:
  void enter() { scopes_.emplace_back(); }

  void declare(std::string_view name, Operand symbol) { scopes_.back().symbols[name] = std::move(symbol); }

  /// `%r<11>`: %r0 to %r10 are registers first to first + 10.
  void declare_range(std::string_view prefix, int first, int count) {
    scopes_.back().ranges[prefix] = {first, count};
  }

  /// What the name stands for; Kind::none when nothing.
  Operand find(std::string_view name) const;

  void define_label(std::string_view name, int position) { scopes_.back().labels[name] = position; }
  /// `slot` of the instruction at `position` is to get the position of the label: -1 its target, otherwise
  /// targets[slot].
  void use_label(std::string_view name, int position, int slot) {
    scopes_.back().uses.push_back({name, position, slot});
  }
  void define_table(std::string_view name, std::vector<std::string_view> labels) {
    scopes_.back().tables[name] = std::move(labels);
  }
  const std::vector<std::string_view>* find_table(std::string_view name) const;

  /// Ends the innermost scope: resolves the labels that it defines and hands the other uses
  /// outwards.  Returns the name of a label that nobody defines, when this was the outermost scope;
  /// otherwise an empty one.
  std::string_view leave(std::vector<Instruction>& code);

  bool is_empty() const { return scopes_.empty(); }

 private:
  struct Use {
    std::string_view label;
    int position, slot;
  };
  struct Scope {
    std::unordered_map<std::string_view, Operand> symbols;
    std::unordered_map<std::string_view, std::pair<int, int>> ranges;
    std::unordered_map<std::string_view, int> labels;
    std::unordered_map<std::string_view, std::vector<std::string_view>> tables;
    std::vector<Use> uses;
  };
  std::vector<Scope> scopes_;
};

}  // namespace simulated_gpu::ptx
