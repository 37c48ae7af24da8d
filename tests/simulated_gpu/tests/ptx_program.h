#pragma once
// Runs PTX written in a test on a simulated device: the smallest thing that parses, lays out parameters and
// launches.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulated_gpu/device/execute.h"
#include "tests/simulated_gpu/memory/arena.h"

namespace simulated_gpu {

/// A violation that the executor told.
struct Violation {
  std::string rule, text;
  int warp;
  uint32_t lanes;
};

/// Keeps what the executor tells.
class Recorder : public Observer {
 public:
  void violates(const ptx::Instruction&, const char* rule, const std::string& text, int warp,
                uint32_t lanes) override {
    violations.push_back({rule, text, warp, lanes});
  }
  /// "rule rule ...", so that a test can compare all at once.
  std::string rules() const;

  std::vector<Violation> violations;
};

/// A module on a device of its own.
class PtxProgram {
 public:
  /// Text without header: .version, .target and .address_size are put before it.
  explicit PtxProgram(const std::string& text);

  template <class T>
  uint64_t upload(const std::vector<T>& values) {
    const uint64_t address = memory_.allocate(values.size() * sizeof(T));
    std::memcpy(memory_.at(address), values.data(), values.size() * sizeof(T));
    return address;
  }
  template <class T>
  std::vector<T> download(uint64_t address, size_t count) {
    std::vector<T> values(count);
    std::memcpy(values.data(), memory_.at(address), count * sizeof(T));
    return values;
  }

  /// Every argument has the type that the kernel declares.
  template <class... Arguments>
  Outcome run(const std::string& kernel, std::array<uint32_t, 3> grid, std::array<uint32_t, 3> block,
              uint32_t dynamic_shared_bytes, const Arguments&... arguments) {
    const ptx::Kernel& entry = module_->kernels.at(kernel);
    std::vector<std::byte> parameters(entry.parameter_bytes);
    size_t index = 0;
    (std::memcpy(parameters.data() + entry.parameters.at(index++).offset, &arguments, sizeof arguments), ...);
    return launch(entry, grid, block, dynamic_shared_bytes, parameters);
  }

  Observer* observer = nullptr;  ///< instead of `recorder`
  Recorder recorder;
  Schedule schedule;
  ptx::Module& module() { return *module_; }
  Arena& memory() { return memory_; }

 private:
  Outcome launch(const ptx::Kernel& kernel, std::array<uint32_t, 3> grid, std::array<uint32_t, 3> block,
                 uint32_t dynamic_shared_bytes, const std::vector<std::byte>& parameters);

  Arena memory_{uint64_t{1} << 24};
  std::unique_ptr<ptx::Module> module_;
};

/// What parse() or the first launch says against the text, or "" when it says nothing.
std::string error_of(const std::string& text);

/// `.visible .entry name(pointer x count) { registers; body; ret; }`: parameters p0, p1, ... are loaded into
/// %rd0, %rd1, ... and %r0 holds the thread's index in its block.
std::string entry(const std::string& name, int pointers, const std::string& body);

}  // namespace simulated_gpu
