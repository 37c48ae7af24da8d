#include "tests/simulated_gpu/checker/source_names.h"

#include <cxxabi.h>

#include <cstdlib>

namespace simulated_gpu {

std::string kernel_name(const ptx::Kernel& kernel) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(kernel.name.c_str(), nullptr, nullptr, &status);
  const std::string name = demangled ? demangled : kernel.name;
  std::free(demangled);
  return name;
}

std::string source_of(const ptx::Instruction& instruction) {
  if (instruction.file == 0 || !instruction.kernel || !instruction.kernel->module) return "";
  return instruction.kernel->module->files[static_cast<size_t>(instruction.file)] + ":" +
         std::to_string(instruction.line);
}

}  // namespace simulated_gpu
