#pragma once
// `tessera slurm`: batch scripts, written and read.

#include <ostream>
#include <string>

#include "launch/slurm/job.h"

namespace tessera {

/// Writes sbatch_script(job) to a file that can be run, or to out when path is empty.  Throws Error when it cannot be
/// written, or has errors.
void write_batch_script(const SlurmJob& job, const std::string& path, std::ostream& out);

/// Writes what lint_batch_script() finds in a file to out.  Returns the exit code: 1 when there are errors.  Throws Error when
/// the file cannot be read.
int check_batch_script(const std::string& path, std::ostream& out);

}  // namespace tessera
