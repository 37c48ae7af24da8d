#pragma once
// A batch script as sbatch and its shell see it.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/slurm/sbatch_options.h"

namespace tessera {

/// An option of a line that starts with #SBATCH, before the first command.
struct Directive {
  int line = 0;  ///< from 1
  GivenOption option;
};

/// A simple command of the shell.  Quotes are taken off, variables and substitutions stay as written; words like `if` and
/// variables that are set in front of the command are no words of it.
struct ShellCommand {
  int line = 0;
  std::vector<std::string> words{};
  std::map<std::string, std::string> variables{};  ///< set in front of it, or by it when there are no words
  bool background = false;                         ///< ends with &
};

struct BatchScript {
  std::vector<std::string> lines;
  std::vector<Directive> directives;
  std::vector<ShellCommand> commands;

  /// The last one counts, as for sbatch.
  const Directive* find(std::string_view name) const;
  /// The value of find(name) as a number; nothing when it is not given, or is none.
  std::optional<int64_t> number(std::string_view name) const;
};

/// Of a heterogeneous job, the directives of its first part, and the one that begins the next.
/// Functions, loops and here-documents are read as far as finding commands takes; nothing is expanded or run.
BatchScript read_batch_script(const std::string& text);

/// The text as a whole number.
std::optional<int64_t> whole_number(std::string_view text);

/// Seconds of a time limit: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].  Nothing for
/// any other text; unlimited is the largest number.
std::optional<int64_t> slurm_seconds(const std::string& text);

}  // namespace tessera
