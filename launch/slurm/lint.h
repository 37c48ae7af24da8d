#pragma once
// What will go wrong with a batch script that trains, before it has waited in a queue.

#include <ostream>
#include <string>
#include <vector>

namespace tessera {

enum class Severity { warning, error };

struct Finding {
  int line = 0;  ///< from 1
  Severity severity = Severity::error;
  std::string what;    ///< what will go wrong
  std::string advice;  ///< what to do
};

/// Reads any sbatch script: its #SBATCH lines, how it starts ranks (srun, mpirun), what it does with signals and exit codes,
/// and the settings of the training, whose config file is read where there is one.  Relative paths begin at the current
/// folder, as they do for sbatch.  Runs nothing.  In order of lines.
std::vector<Finding> lint_batch_script(const std::string& text);

/// "PATH:LINE: error: WHAT: ADVICE", a line per finding, and a last line that counts them.
void print_findings(const std::string& path, const std::vector<Finding>& findings, std::ostream& out);

bool has_errors(const std::vector<Finding>& findings);

}  // namespace tessera
