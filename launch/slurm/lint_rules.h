#pragma once
// Inside the linter: what all rules read, and the rules by subject.

#include <map>

#include "launch/slurm/batch_script.h"
#include "launch/slurm/lint.h"

namespace tessera {

enum class Launcher { none, srun, mpirun };

/// A command that starts ranks, or would have to.
struct Launch {
  int line = 0;
  Launcher launcher = Launcher::none;
  std::vector<std::string> options{};   ///< of the launcher
  std::vector<std::string> training{};  ///< from `train` on; empty when something else is started
  std::map<std::string, std::string> variables{};
  bool background = false;

  /// The value of an option, under the first of its names that is there; empty when it has none.
  std::optional<std::string> option(const std::vector<std::string>& names) const;
};

struct LintedScript {
  BatchScript script;
  std::vector<Launch> launches;
  std::vector<Finding> findings{};

  void error(int line, std::string what, std::string advice) {
    findings.push_back({line, Severity::error, std::move(what), std::move(advice)});
  }
  void warning(int line, std::string what, std::string advice) {
    findings.push_back({line, Severity::warning, std::move(what), std::move(advice)});
  }
  /// The value that a variable has where launch starts, when the script sets or exports it.
  std::string variable(const Launch& launch, const std::string& name) const;
  /// The line of a directive, or 1.
  int line_of(std::string_view directive) const;
  /// The number in "4", "a100:4", "gpu:4" or "gpu:a100:4", when the directive is given and asks for GPUs.
  std::optional<int64_t> gpus(std::string_view directive) const;
  /// Ranks that Slurm gives the job, where the script says so.
  std::optional<int64_t> tasks() const;
};

std::vector<Launch> find_launches(const BatchScript& script);

void lint_text(LintedScript& linted);       ///< what sbatch refuses or does not see
void lint_resources(LintedScript& linted);  ///< ranks, processors, GPUs
void lint_output(LintedScript& linted);     ///< the log
void lint_stopping(LintedScript& linted);   ///< time limit, signals, requeueing
void lint_launches(LintedScript& linted);   ///< options of srun and mpirun
void lint_trainings(LintedScript& linted);  ///< the config, its folders, threads and GPUs

}  // namespace tessera
