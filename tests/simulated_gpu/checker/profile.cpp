#include "tests/simulated_gpu/checker/profile.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "tests/simulated_gpu/checker/flops.h"
#include "tests/simulated_gpu/checker/source_names.h"
#include "tests/simulated_gpu/checker/traffic.h"

namespace simulated_gpu {
namespace {

struct InstructionCounts {
  std::string file;
  int line;
  Flops flops;
  uint64_t warps, threads;
  bool was_taken, was_not_taken;
  Traffic traffic;
};

struct KernelCounts {
  std::string symbol, name;
  std::vector<InstructionCounts> code;
  uint64_t launches = 0;
  uint64_t unique_bytes_read = 0, unique_bytes_written = 0;
  std::set<LaunchShape> shapes;
};

KernelCounts counts_of(const ptx::Kernel& kernel) {
  KernelCounts counts;
  counts.symbol = kernel.name;
  counts.name = kernel_name(kernel);
  for (const ptx::Instruction& instruction : kernel.code) {
    const std::string file = kernel.module ? kernel.module->files[static_cast<size_t>(instruction.file)] : "";
    counts.code.push_back({file, instruction.line, flops_of(instruction), 0, 0, false, false, {}});
  }
  return counts;
}

class LaunchCounter final : public Observer {
 public:
  explicit LaunchCounter(std::map<const ptx::Kernel*, KernelCounts>& kernels) : kernels_(kernels) {}

  void launch_begins(const LaunchInfo& launch) override {
    auto place = kernels_.find(launch.kernel);
    if (place == kernels_.end()) place = kernels_.emplace(launch.kernel, counts_of(*launch.kernel)).first;
    counts_ = &place->second;
    ++counts_->launches;
    counts_->shapes.insert({launch.block[0] * launch.block[1] * launch.block[2], launch.shared_bytes});
  }

  void launch_ends() override {
    counts_->unique_bytes_read += read_.count();
    counts_->unique_bytes_written += written_.count();
  }

  void executes(const ptx::Instruction& instruction, int, uint32_t mask) override {
    InstructionCounts& counts = counts_of_instruction(instruction);
    ++counts.warps;
    counts.threads += static_cast<uint64_t>(__builtin_popcount(mask));
  }

  void branches(const ptx::Instruction& instruction, uint32_t taken, uint32_t not_taken) override {
    InstructionCounts& counts = counts_of_instruction(instruction);
    counts.was_taken |= taken != 0;
    counts.was_not_taken |= not_taken != 0;
  }

  uint32_t access(const Access& access) override {
    if (!access.mask) return 0;
    Traffic& traffic = counts_of_instruction(*access.instruction).traffic;
    if (access.space == ptx::Space::global) {
      traffic.global_requested_bytes +=
          static_cast<uint64_t>(__builtin_popcount(access.mask)) * access.bytes_per_lane;
      traffic.global_sectors += sectors(access);
      if (access.kind != AccessKind::write) read_.add(access);
      if (access.kind != AccessKind::read) written_.add(access);
    } else if (access.space == ptx::Space::shared) {
      ++traffic.shared_accesses;
      traffic.shared_conflicts += bank_conflicts(access);
    }
    return access.mask;
  }

 private:
  InstructionCounts& counts_of_instruction(const ptx::Instruction& instruction) {
    return counts_->code[static_cast<size_t>(instruction.index)];
  }

  std::map<const ptx::Kernel*, KernelCounts>& kernels_;
  KernelCounts* counts_ = nullptr;
  DistinctBytes read_, written_;
};

KernelProfile sum(const KernelCounts& counts) {
  KernelProfile profile;
  profile.symbol = counts.symbol;
  profile.kernel = counts.name;
  profile.launches = counts.launches;
  profile.global_unique_bytes_read = counts.unique_bytes_read;
  profile.global_unique_bytes_written = counts.unique_bytes_written;
  profile.launch_shapes.assign(counts.shapes.begin(), counts.shapes.end());
  std::map<std::pair<std::string, int>, LineProfile> lines;
  for (const InstructionCounts& instruction : counts.code) {
    if (!instruction.warps) continue;
    profile.warp_instructions += instruction.warps;
    profile.thread_instructions += instruction.threads;
    profile.flops +=
        instruction.flops.per_lane * instruction.threads + instruction.flops.per_warp * instruction.warps;
    profile += instruction.traffic;
    if (instruction.file.empty()) continue;
    LineProfile& line = lines[{instruction.file, instruction.line}];
    line.file = instruction.file;
    line.line = instruction.line;
    line.warp_instructions += instruction.warps;
    line += instruction.traffic;
  }
  for (auto& [place, line] : lines) profile.lines.push_back(std::move(line));
  return profile;
}

using Json = nlohmann::ordered_json;

void put(Json& json, const Traffic& traffic) {
  json["global_requested_bytes"] = traffic.global_requested_bytes;
  json["global_sectors"] = traffic.global_sectors;
  json["shared_accesses"] = traffic.shared_accesses;
  json["shared_conflicts"] = traffic.shared_conflicts;
}

Json to_json(const KernelProfile& profile) {
  Json json;
  json["symbol"] = profile.symbol;
  json["kernel"] = profile.kernel;
  json["launches"] = profile.launches;
  json["warp_instructions"] = profile.warp_instructions;
  json["thread_instructions"] = profile.thread_instructions;
  json["flops"] = profile.flops;
  put(json, profile);
  json["global_unique_bytes_read"] = profile.global_unique_bytes_read;
  json["global_unique_bytes_written"] = profile.global_unique_bytes_written;
  for (const LaunchShape& shape : profile.launch_shapes)
    json["launch_shapes"].push_back({{"threads", shape.threads}, {"shared_bytes", shape.shared_bytes}});
  json["lines"] = Json::array();
  for (const LineProfile& line : profile.lines) {
    Json entry = {{"file", line.file}, {"line", line.line}, {"warp_instructions", line.warp_instructions}};
    put(entry, line);
    json["lines"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace

Traffic& Traffic::operator+=(const Traffic& other) {
  global_requested_bytes += other.global_requested_bytes;
  global_sectors += other.global_sectors;
  shared_accesses += other.shared_accesses;
  shared_conflicts += other.shared_conflicts;
  return *this;
}

struct Profile::State {
  std::map<const ptx::Kernel*, KernelCounts> kernels;
};

Profile::Profile() : state_(std::make_unique<State>()) {}
Profile::~Profile() = default;

void Profile::add_module(const ptx::Module& module) {
  for (const auto& [name, kernel] : module.kernels) state_->kernels.try_emplace(&kernel, counts_of(kernel));
}

std::unique_ptr<Observer> Profile::watch_launch() { return std::make_unique<LaunchCounter>(state_->kernels); }

std::vector<KernelProfile> Profile::kernels() const {
  // The same kernel may be in several modules, one per device; kernels of unnamed namespaces may share a demangled name.
  std::map<std::pair<std::string, std::string>, KernelCounts> by_name;
  for (const auto& [kernel, counts] : state_->kernels) {
    if (!counts.launches) continue;
    const auto [place, is_new] = by_name.try_emplace({counts.name, counts.symbol}, counts);
    if (is_new) continue;
    KernelCounts& all = place->second;
    all.launches += counts.launches;
    all.unique_bytes_read += counts.unique_bytes_read;
    all.unique_bytes_written += counts.unique_bytes_written;
    all.shapes.insert(counts.shapes.begin(), counts.shapes.end());
    all.code.insert(all.code.end(), counts.code.begin(), counts.code.end());
  }
  std::vector<KernelProfile> profiles;
  for (const auto& [name, counts] : by_name) profiles.push_back(sum(counts));
  return profiles;
}

std::vector<SourceCoverage> Profile::coverage() const {
  struct Line {
    bool was_executed = false, was_taken = false, was_not_taken = false;
  };
  std::map<std::string, std::map<int, Line>> files;
  for (const auto& [kernel, counts] : state_->kernels)
    for (const InstructionCounts& instruction : counts.code) {
      if (instruction.file.empty()) continue;
      Line& line = files[instruction.file][instruction.line];
      line.was_executed |= instruction.warps != 0;
      line.was_taken |= instruction.was_taken;
      line.was_not_taken |= instruction.was_not_taken;
    }
  std::vector<SourceCoverage> coverage;
  for (const auto& [file, lines] : files) {
    SourceCoverage source{file, {}, {}, {}};
    for (const auto& [number, line] : lines) {
      (line.was_executed ? source.executed_lines : source.missed_lines).push_back(number);
      if (line.was_taken != line.was_not_taken) source.one_way_branch_lines.push_back(number);
    }
    coverage.push_back(std::move(source));
  }
  return coverage;
}

std::string Profile::to_json() const {
  Json json;
  json["kernels"] = Json::array();
  for (const KernelProfile& profile : kernels()) json["kernels"].push_back(simulated_gpu::to_json(profile));
  json["sources"] = Json::array();
  for (const SourceCoverage& source : coverage())
    json["sources"].push_back({{"file", source.file},
                               {"executed_lines", source.executed_lines},
                               {"missed_lines", source.missed_lines},
                               {"one_way_branch_lines", source.one_way_branch_lines}});
  return json.dump(2);
}

}  // namespace simulated_gpu
