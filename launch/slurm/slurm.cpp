#include "launch/slurm/slurm.h"

#include <fstream>
#include <sstream>

#include "launch/process.h"
#include "launch/slurm/lint.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/replace_file.h"

namespace tessera {

void write_batch_script(const SlurmJob& job, const std::string& path, std::ostream& out) {
  const std::string script = sbatch_script(job);
  if (path.empty()) {
    out << script;
    return;
  }
  replace_file(path, script);
  log_line(str("wrote ", path, ": start it with sbatch ", path));
}

int check_batch_script(const std::string& path, std::ostream& out) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  TESSERA_CHECK(in.good(), "slurm: cannot read ", path);
  const std::vector<Finding> findings = lint_batch_script(text.str());
  print_findings(path, findings, out);
  return has_errors(findings) ? kExitError : kExitSuccess;
}

}  // namespace tessera
