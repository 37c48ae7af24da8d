#pragma once
// How fast the program was: a line of ratios for each recorded state, in benchmarks/history.jsonl.

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/json.h"

namespace tessera::benchmarks {

/// Names of ratios begin with a step or case; what is varied follows after a space.
struct HistoryLine {
  using Ratios = std::map<std::string, double>;

  std::string date, commit, processor, isa;
  int64_t threads = 1;
  Ratios step_over_floor, variant_over_dense, f32_over_bf16, scaling, overhead;

  auto fields() {
    return std::tuple{
        Field{"date", date, "year-month-day"},
        Field{"commit", commit, "of the program, abbreviated"},
        Field{"processor", processor, "its name"},
        Field{"isa", isa, "instruction-set level"},
        Field{"threads", threads, "cores of the machine", 1, 4096},
        Field{"step_over_floor", step_over_floor, "time of a step over its floor (step_profile)", 0.5, 50},
        Field{"variant_over_dense", variant_over_dense, "time per token over dense (step_ratios)", 0.2, 20},
        Field{"f32_over_bf16", f32_over_bf16, "time of a step in f32 over bf16 (step_ratios)", 0.2, 20},
        Field{"scaling", scaling, "throughput over that of one rank on one thread (scaling)", 0.1, 10},
        Field{"overhead", overhead, "what a training costs beside its steps, share of a step (overhead)",
              -0.1, 1}};
  }
};

/// The state of this program and machine by the files that step_profile, step_ratios, scaling and overhead leave.  Throws Error
/// when one is missing, malformed or incomplete, or a ratio is out of its range.
HistoryLine measured_state(const std::string& results, const std::string& commit);

/// Throws Error naming file, line and what is wrong, missing ratios included.
std::vector<HistoryLine> read_history(const std::string& path);

/// A page of charts: every ratio over the lines.
std::string history_page(const std::vector<HistoryLine>& lines);

}  // namespace tessera::benchmarks
