// Where a step's time goes, part by part, beside the floor of each part: step_profile FOLDER THREADS [CONFIG ...]
//
// Floors are measured in the same process, in turns with the steps:
//   matrix products   every shape of the step at the best rate that our kernel, oneDNN or OpenBLAS reaches on it
//   attention         its products (two forward, five backward with recomputation, the causal half) at the best rate of the three on
//                     one head's scores and one head's values
//   gather            one read of the f32 parameters and one write of the compute copy
//   everything else   one read of inputs and one write of outputs, by the bytes that kernels leave in the trace, at the rate of
//                     memcpy between arrays of 8 MiB, or of 64 MiB for kernels that move more than that at a time
//   rest              nothing: host work between kernels, copies that no kernel does
// The seconds of one thread are those on its core; the trace, which sees the wall, says how they are shared out.  With more threads
// they are the wall's.
//
// FOLDER gets step_profile.jsonl, a line for each config and dtype, and step_profile.html.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "benchmarks/machine_limits.h"
#include "benchmarks/median.h"
#include "benchmarks/step_race.h"
#include "launch/append_file.h"
#include "launch/format.h"
#include "launch/report_html.h"
#include "runtime/replace_file.h"

namespace tessera::benchmarks {
namespace {

struct Part {
  std::string name;
  double seconds = 0, floor = 0;
};

struct Profile {
  std::string name;
  double seconds = 0, floor = 0;
  std::vector<Part> parts{};  ///< the longest first
};

constexpr int64_t kNear = 8 << 20, kFar = 64 << 20;  // bytes of an array

/// Medians over turns, by part.
class Turns {
 public:
  void add(const std::string& name, double seconds, double floor) {
    seconds_[name].push_back(seconds);
    floors_[name].push_back(floor);
  }
  std::vector<Part> parts() const {
    std::vector<Part> parts;
    for (const auto& [name, seconds] : seconds_)
      parts.push_back({name, median(seconds), median(floors_.at(name))});
    std::ranges::sort(parts, std::ranges::greater{}, &Part::seconds);
    return parts;
  }

 private:
  std::map<std::string, std::vector<double>> seconds_, floors_;
};

/// One head's products in attention: queries by keys, and weights by values.
class AttentionRate {
 public:
  AttentionRate(int64_t length, int64_t head_dim, DType dtype, int threads)
      : scores_({ProductForm::forward, length, head_dim, length, dtype, threads}),
        values_({ProductForm::forward, length, length, head_dim, dtype, threads}),
        flops_(4.0 * static_cast<double>(length * length * head_dim)) {}

  /// Seconds per operation, now.
  double seconds_per_flop() {
    scores_.round();
    values_.round();
    return (scores_.last_best_seconds() + values_.last_best_seconds()) / flops_;
  }

 private:
  MatmulRace scores_, values_;
  double flops_;
};

double copy_rate(ThreadPool& pool, int64_t bytes) { return 1e9 * memory_bandwidth(pool, bytes).copy; }

Profile profile_of(const StepSetting& setting, int turns) {
  const DType dtype = setting.compute;
  Profile profile{str(setting.config, " ", dtype)};
  if (setting.threads > 1) profile.name += str(", ", setting.threads, " threads");
  with_training_step(setting, [&](TrainingStep& step) {
    StepRace race(step);
    AttentionRate attention(setting.length, step.config().model.head_dim(), dtype, setting.threads);
    ThreadPool pool(setting.threads);
    int64_t parameters = 0;
    for (const ShardPiece& piece : step.pieces()) parameters += piece.value.count();
    step.trace().start();
    Turns seen;
    std::vector<double> totals, floors;
    std::map<std::string, RangeTotal> before;
    for (int turn = 0; turn < turns; ++turn) {
      const double near = copy_rate(pool, kNear), far = copy_rate(pool, kFar);
      const double per_flop = attention.seconds_per_flop();
      int64_t wall = 0;
      std::map<std::string, RangeTotal> after;
      const double seconds = race.round([&] {
        const int64_t begin = Trace::now_ns();
        const double of_step = step.run();
        wall = Trace::now_ns() - begin;
        after = step.trace().totals();
        return of_step;
      });
      const double on_core =
          seconds / static_cast<double>(wall);  // seconds on a core for a nanosecond on the wall
      double floor = 0;
      int64_t rest = wall;
      const auto add = [&](const std::string& name, int64_t ns, double least) {
        seen.add(name, on_core * static_cast<double>(ns), least);
        floor += least;
        rest -= ns;
      };
      for (const auto& [name, total] : after) {
        const RangeTotal& old = before[name];
        const int64_t ns = total.own_ns - old.own_ns, bytes = total.bytes - old.bytes,
                      calls = total.calls - old.calls;
        if (calls == 0) continue;
        const auto& products = race.last_product_seconds();
        const auto flops = static_cast<double>(step.attention_flops());
        double least = static_cast<double>(bytes) / (bytes / calls > kFar ? far : near);
        if (name == "matmul_forward") least = products.at(ProductForm::forward);
        if (name == "matmul_backward_input") least = products.at(ProductForm::backward_input);
        if (name == "matmul_backward_weight") least = products.at(ProductForm::backward_weight);
        if (name == "attention_forward") least = per_flop * flops / 3;
        if (name == "attention_backward") least = per_flop * flops * 5 / 6;
        if (name == "gather_parameters")
          least = static_cast<double>(parameters * (4 + bytes_of(dtype))) / far;
        add(name, ns, least);
      }
      before = after;
      add("rest", rest, 0);
      totals.push_back(seconds);
      floors.push_back(floor);
    }
    profile.seconds = median(totals);
    profile.floor = median(floors);
    profile.parts = seen.parts();
  });
  return profile;
}

std::string milliseconds(double seconds) { return format_fixed(1e3 * seconds, 2); }
std::string ratio(double seconds, double floor) { return floor > 0 ? format_fixed(seconds / floor, 2) : "-"; }

std::string text_of(const Profile& profile) {
  std::vector<std::vector<std::string>> rows{{profile.name, "ms", "floor", "ratio", "% of the step"}};
  for (const Part& part : profile.parts)
    rows.push_back({part.name, milliseconds(part.seconds), milliseconds(part.floor),
                    ratio(part.seconds, part.floor), format_fixed(100 * part.seconds / profile.seconds, 1)});
  rows.push_back({"step", milliseconds(profile.seconds), milliseconds(profile.floor),
                  ratio(profile.seconds, profile.floor), "100.0"});
  return format_table(rows);
}

Json json_of(const Profile& profile) {
  Json parts = Json::object();
  for (const Part& part : profile.parts)
    parts[part.name] = {{"seconds", part.seconds}, {"floor", part.floor}};
  return {{"step", profile.name},
          {"seconds", profile.seconds},
          {"floor", profile.floor},
          {"ratio", profile.seconds / profile.floor},
          {"parts", parts}};
}

/// A bar for each part, its floor in the darker colour.
std::string picture_of(const Profile& profile) {
  constexpr double kLabel = 210, kWidth = 760, kRow = 24;
  std::string bars;
  double top = 0;
  const double scale = kWidth / profile.parts.front().seconds;
  for (const Part& part : profile.parts) {
    if (part.seconds < 0.002 * profile.seconds) continue;
    const auto bar = [&](double seconds, const char* color) {
      return str("<rect x=\"", kLabel, "\" y=\"", top + 3, "\" width=\"", format_fixed(scale * seconds, 1),
                 "\" height=\"18\" fill=\"", color, "\"/>");
    };
    bars +=
        str("<g><title>", part.name, ": ", milliseconds(part.seconds), " ms, floor ",
            milliseconds(part.floor), " ms</title><text x=\"0\" y=\"", top + 17, "\">", part.name, "</text>",
            bar(part.seconds, "#d9a441"), bar(std::min(part.floor, part.seconds), "#3f7fb0"), "</g>");
    top += kRow;
  }
  return str("<div class=\"card\"><svg viewBox=\"0 0 ", kLabel + kWidth, " ", top,
             "\" role=\"img\" aria-label=\"Parts of the step and their floors\">", bars, "</svg></div>");
}

std::string page_of(const std::vector<Profile>& profiles) {
  std::string body =
      "<header><p class=\"kicker\">Tessera step profile</p><h1>Time and floor of a step</h1></header>";
  for (const Profile& profile : profiles)
    body +=
        html_section("step", profile.name + ": " + ratio(profile.seconds, profile.floor) + " of its floor",
                     html_note("Milliseconds of each part; blue is its floor.") + picture_of(profile) +
                         "<div class=\"card\"><pre>" + escape_html(text_of(profile)) + "</pre></div>");
  return html_page("Step profile", body);
}

int run(const std::string& folder, int threads, std::vector<std::string> configs) {
  if (configs.empty())
    for (const char* size : {"cpu_small_", "cpu_large_"})
      for (const char* kind : {"dense", "1t1i", "4t4i", "mod_4t4i"})
        configs.push_back(std::string(size) + kind);
  std::filesystem::create_directories(folder);
  const std::string lines = folder + "/step_profile.jsonl";
  std::filesystem::remove(lines);
  AppendFile out(lines);
  std::vector<Profile> profiles;
  for (const std::string& config : configs)
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const bool large = config.starts_with("cpu_large");
      profiles.push_back(profile_of({config, large ? 1024 : 512, dtype, threads}, large ? 3 : 7));
      out.append(json_of(profiles.back()).dump() + "\n");
      std::cout << text_of(profiles.back()) << std::endl;
    }
  replace_file(folder + "/step_profile.html", page_of(profiles));
  std::vector<std::vector<std::string>> rows{{"", "ms", "floor", "ratio"}};
  for (const Profile& profile : profiles)
    rows.push_back({profile.name, milliseconds(profile.seconds), milliseconds(profile.floor),
                    ratio(profile.seconds, profile.floor)});
  std::cout << format_table(rows) << "\nin full: " << lines << ", " << folder << "/step_profile.html\n";
  return 0;
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  const int threads = argc > 2 ? std::atoi(argv[2]) : 0;
  if (threads < 1) {
    std::cerr << "usage: step_profile FOLDER THREADS [CONFIG ...]\n";
    return 2;
  }
  try {
    return tessera::benchmarks::run(argv[1], threads, {argv + 3, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "step_profile: " << error.what() << "\n";
    return 2;
  }
}
