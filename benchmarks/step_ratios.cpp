// What the sparse variants cost over dense, and what bf16 gains over f32: step_ratios FOLDER [SIZE ...]
//
// Two steps take turns in one process, on the clock of its one thread: a variant and the dense model of the same size and dtype, or
// f32 and bf16 of a model.  A ratio is that of the time per token of a turn, beside the ratio of
// the ledger's operations.
//
// FOLDER gets step_ratios.jsonl, a line for each pair.  SIZE: cpu_small, cpu_large; both when none is named.
#include <filesystem>
#include <iostream>

#include "benchmarks/step_turns.h"
#include "launch/append_file.h"
#include "launch/format.h"
#include "runtime/isa.h"

namespace tessera::benchmarks {
namespace {

struct Size {
  const char* name;
  int64_t length;
  int turns;
};
constexpr Size kSizes[] = {{"cpu_small", 512, 15}, {"cpu_large", 1024, 3}};

std::string name_of(const StepSetting& setting) { return str(setting.config, " ", setting.compute); }

class Ratios {
 public:
  explicit Ratios(const std::string& folder) {
    std::filesystem::create_directories(folder);
    const std::string path = folder + "/step_ratios.jsonl";
    std::filesystem::remove(path);
    lines_ = std::make_unique<AppendFile>(path);
  }

  void measure(const Size& size) {
    const auto setting = [&](const char* variant, DType dtype) {
      return StepSetting{str(size.name, "_", variant), size.length, dtype, 1};
    };
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const char* variant : {"1t1i", "4t4i", "mod_4t4i"})
        add(setting(variant, dtype), setting("dense", dtype), size.turns);
    for (const char* variant : {"dense", "4t4i"})
      add(setting(variant, DType::f32), setting(variant, DType::bf16), size.turns);
  }

  std::string text() const { return format_table(rows_) + "\nin full: " + lines_->path() + "\n"; }

 private:
  void add(const StepSetting& setting, const StepSetting& base, int turns) {
    const std::vector<TimedSteps> timed = steps_in_turns({setting, base}, turns);
    const TimedSteps &of = timed[0], &over = timed[1];
    const Quartiles time = time_ratio(of, over);
    const auto per_token = [](const TimedSteps& steps, double per_step) {
      return per_step / static_cast<double>(steps.tokens);
    };
    const double flops = per_token(of, static_cast<double>(of.flops)) /
                         per_token(over, static_cast<double>(over.flops)),
                 microseconds = 1e6 * per_token(of, median(of.seconds));
    lines_->append(Json{{"step", name_of(of.setting)},
                        {"over", name_of(over.setting)},
                        {"turns", of.seconds.size()},
                        {"time", {{"median", time.median}, {"lower", time.lower}, {"upper", time.upper}}},
                        {"flops", flops},
                        {"time_per_flop", time.median / flops},
                        {"seconds", median(of.seconds)},
                        {"seconds_over", median(over.seconds)}}
                       .dump() +
                   "\n");
    rows_.push_back({name_of(of.setting) + " over " + name_of(over.setting), format_fixed(time.median, 3),
                     str(format_fixed(time.lower, 3), "-", format_fixed(time.upper, 3)),
                     format_fixed(flops, 3), format_fixed(time.median / flops, 3),
                     format_fixed(microseconds, 1)});
    std::cerr << rows_.back()[0] << ": " << rows_.back()[1] << std::endl;
  }

  std::unique_ptr<AppendFile> lines_;
  std::vector<std::vector<std::string>> rows_{
      {"", "time per token", "quartiles", "operations", "time per operation", "us per token"}};
};

int run(const std::string& folder, const std::vector<std::string>& sizes) {
  Ratios ratios(folder);
  for (const std::string& name : sizes)
    TESSERA_CHECK(std::ranges::find(kSizes, name, &Size::name) != std::end(kSizes), "no size ", name);
  for (const Size& size : kSizes)
    if (sizes.empty() || std::ranges::find(sizes, size.name) != sizes.end()) ratios.measure(size);
  if (detect_isa() < Isa::avx512_bf16) std::cout << "no bf16 products: bf16 falls back to f32 compute\n";
  std::cout << ratios.text();
  return 0;
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: step_ratios FOLDER [SIZE ...]\n";
    return 2;
  }
  try {
    return tessera::benchmarks::run(argv[1], {argv + 2, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "step_ratios: " << error.what() << "\n";
    return 2;
  }
}
