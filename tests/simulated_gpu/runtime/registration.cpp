// The launch ABI of nvcc 13: what static constructors of its host code call before main.  They run before the
// constructors of this library may have, so state lives in functions; PTX is parsed at first use.
#include <cuda_runtime_api.h>
#include <cxxabi.h>
#include <fatbinary_section.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/simulated_gpu/control.h"
#include "tests/simulated_gpu/runtime/exit.h"
#include "tests/simulated_gpu/runtime/module.h"
#include "tests/simulated_gpu/runtime/stream.h"

namespace simulated_gpu {
namespace {

/// One object file's device code.
struct FatBinary {
  std::vector<std::string_view> texts;                  ///< plain PTX, one for each architecture
  std::map<int, std::unique_ptr<ptx::Module>> modules;  ///< by device
  bool is_used = false;                                 ///< by any device, now or before it was reset
};

struct Symbol {
  FatBinary* binary;
  std::string name;  ///< mangled
};

struct Registry {
  std::vector<std::unique_ptr<FatBinary>> binaries;
  std::map<const void*, Symbol> functions, variables;
  std::map<std::pair<const void*, int>, Function> known;
  std::vector<std::unique_ptr<ptx::Module>>
      retired;  ///< of devices reset since: the profile still counts them
};

Registry& registry() {
  static auto& value = *new Registry;
  return value;
}

/// The container: 16 bytes of header that end with the size of what follows.  PTX lies in it as text that
/// ends with a zero.
std::vector<std::string_view> plain_ptx(const void* container) {
  constexpr size_t kHeaderBytes = 16;
  constexpr std::string_view kStart = ".version ";
  const char* begin = static_cast<const char*>(container);
  uint64_t bytes = 0;
  std::memcpy(&bytes, begin + 8, sizeof bytes);
  std::string_view rest(begin + kHeaderBytes, bytes);
  std::vector<std::string_view> texts;
  for (size_t at = rest.find(kStart); at != std::string_view::npos; at = rest.find(kStart)) {
    rest.remove_prefix(at);
    texts.push_back(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(texts.back().size());
  }
  return texts;
}

/// 80 for ".target sm_80"; an architecture-specific target (sm_90a) runs only on its own device.
bool runs_on(std::string_view text, const DeviceModel& model, int& target) {
  constexpr std::string_view kTarget = ".target sm_";
  const size_t at = text.find(kTarget);
  if (at == std::string_view::npos) return false;
  char* end = nullptr;
  target = int(std::strtol(text.data() + at + kTarget.size(), &end, 10));
  const int device = model.major * 10 + model.minor;
  return *end == 'a' || *end == 'f' ? target == device : target <= device;
}

std::string_view best_text(const FatBinary& binary, const DeviceModel& model) {
  std::string_view best;
  int best_target = -1, target = 0;
  for (const std::string_view text : binary.texts) {
    if (!runs_on(text, model, target) || target < best_target) continue;
    best = text;
    best_target = target;
  }
  if (best.empty()) {
    throw std::runtime_error(
        "no plain PTX for compute capability " + std::to_string(model.major) + "." +
        std::to_string(model.minor) +
        " or below in an object file: compile with --no-compress and a compute_NN target");
  }
  return best;
}

/// Gives the variables memory and their initial values.  All are bound first: a value may hold the address of
/// another.
void place_variables(ptx::Module& module, Device& device) {
  const uint64_t used_before = device.memory.used();
  for (const auto& [name, variable] : module.variables) {
    const uint64_t address = device.memory.allocate(variable.bytes);
    if (address == 0) throw std::runtime_error("no device memory left for variable " + name);
    device.allocated(address, variable.bytes, host_operation("allocate " + name));
    module.bind(name, address);
  }
  for (const auto& [name, variable] : module.variables) {
    device.touch(variable.address, variable.bytes, AccessKind::write, host_operation("initialise " + name));
    std::byte* memory = device.memory.at(variable.address);
    std::memset(memory, 0, variable.bytes);
    std::copy(variable.initial.begin(), variable.initial.end(), memory);
  }
  device.variable_bytes += device.memory.used() - used_before;
}

ptx::Module& module_of(FatBinary& binary, Device& device) {
  std::unique_ptr<ptx::Module>& module = binary.modules[device.index];
  if (!module) {
    module = ptx::parse(best_text(binary, device.model), "embedded PTX");
    place_variables(*module, device);
    profile().add_module(*module);
    binary.is_used = true;
  }
  return *module;
}

std::string demangle(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  return status == 0 ? text.get() : name;
}

}  // namespace

Function* find_function(const void* host_function, Device& device) {
  const auto symbol = registry().functions.find(host_function);
  if (symbol == registry().functions.end()) return nullptr;
  const auto key = std::pair(host_function, device.index);
  const auto known = registry().known.find(key);
  if (known != registry().known.end()) return &known->second;
  const ptx::Module& module = module_of(*symbol->second.binary, device);
  const auto kernel = module.kernels.find(symbol->second.name);
  if (kernel == module.kernels.end()) return nullptr;
  const int limit = kSharedPerBlockDefault - int(kernel->second.static_shared_bytes);
  return &(registry().known[key] = {&kernel->second, demangle(symbol->second.name), limit});
}

const ptx::Variable* find_variable(const void* host_variable, Device& device) {
  const auto symbol = registry().variables.find(host_variable);
  if (symbol == registry().variables.end()) return nullptr;
  const ptx::Module& module = module_of(*symbol->second.binary, device);
  const auto variable = module.variables.find(symbol->second.name);
  return variable == module.variables.end() ? nullptr : &variable->second;
}

void profile_unused_modules() {
  for (const auto& binary : registry().binaries) {
    if (binary->is_used) continue;
    try {
      registry().retired.push_back(
          ptx::parse(best_text(*binary, device_model(options().device)), "embedded PTX"));
      profile().add_module(*registry().retired.back());
    } catch (const std::exception& error) {  // a launch from it would have ended the process
      std::fprintf(stderr, "simulated GPU: not in the profile: %s\n", error.what());
    }
  }
}

void remove_modules(const Device& device) {
  std::erase_if(registry().known, [&](const auto& entry) { return entry.first.second == device.index; });
  for (const auto& binary : registry().binaries) {
    const auto module = binary->modules.find(device.index);
    if (module == binary->modules.end()) continue;
    registry().retired.push_back(std::move(module->second));
    binary->modules.erase(module);
  }
}

}  // namespace simulated_gpu

using namespace simulated_gpu;

extern "C" {

void** __cudaRegisterFatBinary(void* data) {
  report_at_exit();
  const auto* wrapper = static_cast<const __fatBinC_Wrapper_t*>(data);
  auto& binaries = registry().binaries;
  binaries.push_back(std::make_unique<FatBinary>());
  binaries.back()->texts = plain_ptx(wrapper->data);
  return reinterpret_cast<void**>(binaries.back().get());
}

void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }

void __cudaRegisterFunction(void** binary, const char* host_function, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  registry().functions[host_function] = {reinterpret_cast<FatBinary*>(binary), name};
}

void __cudaRegisterVar(void** binary, char* host_variable, char*, const char* name, int, size_t, int, int) {
  registry().variables[host_variable] = {reinterpret_cast<FatBinary*>(binary), name};
}

}  // extern "C"
