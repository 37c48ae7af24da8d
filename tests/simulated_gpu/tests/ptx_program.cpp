#include "tests/simulated_gpu/tests/ptx_program.h"

#include <algorithm>
#include <stdexcept>

#include "tests/simulated_gpu/device/program.h"

namespace simulated_gpu {
namespace {

constexpr char kHeader[] = ".version 9.0 .target sm_90 .address_size 64\n";

}  // namespace

std::string Recorder::rules() const {
  std::string all;
  for (const Violation& violation : violations) all += (all.empty() ? "" : " ") + violation.rule;
  return all;
}

PtxProgram::PtxProgram(const std::string& text) : module_(ptx::parse(kHeader + text, "test")) {
  for (auto& [name, variable] : module_->variables) module_->bind(name, memory_.allocate(variable.bytes));
  for (auto& [name, variable] : module_->variables) {
    std::memset(memory_.at(variable.address), 0, variable.bytes);
    std::ranges::copy(variable.initial, memory_.at(variable.address));
  }
}

Outcome PtxProgram::launch(const ptx::Kernel& kernel, std::array<uint32_t, 3> grid,
                           std::array<uint32_t, 3> block, uint32_t dynamic_shared_bytes,
                           const std::vector<std::byte>& parameters) {
  Launch launch{&kernel, {}, {}, dynamic_shared_bytes, parameters};
  std::memcpy(launch.grid, grid.data(), sizeof launch.grid);
  std::memcpy(launch.block, block.data(), sizeof launch.block);
  return execute(launch, memory_, observer != nullptr ? *observer : recorder, schedule);
}

std::string error_of(const std::string& text) {
  try {
    const auto module = ptx::parse(kHeader + text, "test");
    for (const auto& [name, kernel] : module->kernels) prepare(kernel);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

std::string entry(const std::string& name, int pointers, const std::string& body) {
  std::string text = ".visible .entry " + name + "(";
  for (int index = 0; index < pointers; ++index) {
    text += std::string(index == 0 ? "" : ", ") + ".param .u64 p" + std::to_string(index);
  }
  text +=
      ") {\n.reg .pred %p<20>; .reg .b16 %h<20>; .reg .b32 %r<40>; .reg .f32 %f<40>; .reg .b64 %rd<40>;"
      " .reg .f64 %d<20>;\n";
  for (int index = 0; index < pointers; ++index) {
    text += "ld.param.u64 %rd" + std::to_string(index) + ", [p" + std::to_string(index) + "];\n";
  }
  return text + "mov.u32 %r0, %tid.x;\n" + body + "\nret; }\n";
}

}  // namespace simulated_gpu
