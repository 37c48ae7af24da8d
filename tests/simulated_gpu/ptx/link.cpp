// Makes kernels of functions: appends the code of every function that a kernel calls, gives each its own part
// of registers, frame and local memory, and lays out shared memory.

#include <algorithm>
#include <map>
#include <stdexcept>

#include "tests/simulated_gpu/ptx/function.h"

namespace simulated_gpu::ptx {
namespace {

/// Where a function stands in the kernel that it was attached to.
struct Placement {
  int code = 0, registers = 0, return_register = -1;
  uint32_t local = 0, frame = 0;
};

bool is_provided_by_executor(const std::string& callee) {
  return callee == "vprintf" || callee == "__assertfail";
}

class KernelLinker {
 public:
  KernelLinker(Functions& functions, const Module& module, const std::string& name)
      : functions_(functions), module_(module), name_(name) {}

  void run(const Function& entry, Kernel& kernel) {
    kernel.name = entry.name;
    kernel.module = &module_;
    kernel.parameters = entry.parameters;
    kernel.parameter_bytes = entry.parameter_bytes;
    kernel.max_threads = entry.max_threads;
    attach(entry, kernel);
    for (size_t index = 0; index < kernel.code.size(); ++index) {
      kernel.code[index].index = static_cast<int>(index);
      kernel.code[index].kernel = &kernel;
    }
    resolve_shared(kernel);
  }

 private:
  /// Appends the function, then those it calls that are not there yet.
  void attach(const Function& function, Kernel& kernel) {
    Placement& placement = placements_[&function];
    placement.code = static_cast<int>(kernel.code.size());
    placement.registers = static_cast<int>(kernel.registers.size());
    placement.local = static_cast<uint32_t>(align_up(kernel.local_bytes, 16));
    placement.frame = static_cast<uint32_t>(align_up(kernel.frame_bytes, 16));
    kernel.local_bytes = placement.local + function.local_bytes;
    kernel.frame_bytes = placement.frame + function.frame_bytes;
    kernel.registers.insert(kernel.registers.end(), function.registers.begin(), function.registers.end());
    if (!function.is_entry) {
      placement.return_register = static_cast<int>(kernel.registers.size());
      kernel.registers.push_back(Type::u32);
    }
    kernel.code.insert(kernel.code.end(), function.code.begin(), function.code.end());
    const auto begin = static_cast<size_t>(placement.code), end = kernel.code.size();
    for (size_t index = begin; index < end; ++index) move_into_place(kernel.code[index], placement);
    being_attached_.push_back(&function);
    for (size_t index = begin; index < end; ++index) {
      if (kernel.code[index].opcode != Opcode::call) continue;
      if (!is_provided_by_executor(kernel.code[index].callee)) connect_call(kernel, index);
    }
    being_attached_.pop_back();
  }

  void connect_call(Kernel& kernel, size_t index) {
    const auto found = functions_.all.find(kernel.code[index].callee);
    if (found == functions_.all.end() || found->second.is_entry) {
      fail(kernel.code[index], "function '" + kernel.code[index].callee + "' has no body");
    }
    const Function& callee = found->second;
    if (std::ranges::find(being_attached_, &callee) != being_attached_.end()) {
      fail(kernel.code[index], "recursion is not supported");
    }
    if (!placements_.contains(&callee)) attach(callee, kernel);
    const Placement& placement = placements_.at(&callee);
    Instruction& call = kernel.code[index];
    call.target = placement.code;
    call.return_register = placement.return_register;
    const auto& results = call.operands[0].elements;
    const auto& arguments = call.operands[1].elements;
    if (results.size() != callee.results.size() || arguments.size() != callee.parameters.size()) {
      fail(call, "arguments or results differ in number from the function's");
    }
    for (size_t i = 0; i < arguments.size(); ++i) {
      const Parameter& formal = callee.parameters[i];
      call.argument_copies.push_back(
          {static_cast<uint32_t>(arguments[i].value), placement.frame + formal.offset, formal.bytes});
    }
    for (size_t i = 0; i < results.size(); ++i) {
      const Parameter& formal = callee.results[i];
      call.result_copies.push_back(
          {placement.frame + formal.offset, static_cast<uint32_t>(results[i].value), formal.bytes});
    }
  }

  static void move_into_place(Instruction& instruction, const Placement& placement) {
    if (instruction.guard >= 0) instruction.guard += placement.registers;
    if (instruction.target >= 0) instruction.target += placement.code;
    for (int& target : instruction.targets) target += placement.code;
    if (instruction.opcode == Opcode::ret) instruction.return_register = placement.return_register;
    for (Operand& operand : instruction.operands) move_into_place(operand, placement);
    move_into_place(instruction.paired, placement);
  }

  static void move_into_place(Operand& operand, const Placement& placement) {
    if (operand.kind == Operand::Kind::reg) operand.value += static_cast<uint64_t>(placement.registers);
    if (operand.kind == Operand::Kind::symbol && operand.space == Space::local)
      operand.value += placement.local;
    if (operand.kind == Operand::Kind::symbol && operand.space == Space::frame)
      operand.value += placement.frame;
    for (Operand& element : operand.elements) move_into_place(element, placement);
  }

  /// Static variables that the kernel names come first, in the order of their first use; dynamic ones share
  /// the place behind.
  void resolve_shared(Kernel& kernel) const {
    std::map<uint64_t, uint64_t> offsets;
    uint32_t dynamic_alignment = 1;
    const auto place = [&](const Operand& operand) {
      const SharedVariable& variable = functions_.shared[operand.value];
      if (variable.is_dynamic) {
        dynamic_alignment = std::max(dynamic_alignment, variable.alignment);
      } else if (!offsets.contains(operand.value)) {
        const uint64_t offset = align_up(kernel.static_shared_bytes, variable.alignment);
        offsets[operand.value] = offset;
        kernel.static_shared_bytes = static_cast<uint32_t>(offset + variable.bytes);
      }
    };
    for_shared_operands(kernel, place);
    kernel.static_shared_bytes =
        static_cast<uint32_t>(align_up(kernel.static_shared_bytes, dynamic_alignment));
    for_shared_operands(kernel, [&](Operand& operand) {
      const bool is_dynamic = functions_.shared[operand.value].is_dynamic;
      operand.value = is_dynamic ? kernel.static_shared_bytes : offsets.at(operand.value);
    });
  }

  template <class Visit>
  static void for_shared_operands(Kernel& kernel, Visit visit) {
    for (Instruction& instruction : kernel.code) {
      for (Operand& operand : instruction.operands) {
        if (operand.kind == Operand::Kind::symbol && operand.space == Space::shared) visit(operand);
      }
    }
  }

  [[noreturn]] void fail(const Instruction& instruction, const std::string& what) const {
    throw std::runtime_error(name_ + ":" + std::to_string(instruction.ptx_line) + ": " + what + " in '" +
                             instruction.text + "'");
  }

  Functions& functions_;
  const Module& module_;
  const std::string& name_;
  std::map<const Function*, Placement> placements_;
  std::vector<const Function*> being_attached_;
};

}  // namespace

void link(Functions& functions, Module& module, const std::string& name) {
  for (const auto& [function_name, function] : functions.all) {
    if (function.is_entry) KernelLinker(functions, module, name).run(function, module.kernels[function_name]);
  }
}

}  // namespace simulated_gpu::ptx
