#include "launch/slurm/job.h"

#include <algorithm>
#include <filesystem>
#include <regex>

#include "launch/process.h"
#include "launch/slurm/lint.h"
#include "runtime/error.h"

namespace tessera {
namespace {

// @NAME@ stands for what script_of() puts there.
constexpr const char* kTemplate = R"sh(#!/bin/bash
@DIRECTIVES@
# Written by `tessera slurm`; `tessera slurm --check` reads it again after changes.  The same command starts the training and
# goes on with it.  When Slurm is about to end the job, the ranks save and end with exit code @REQUEUE_CODE@, and the job goes back into
# the queue.

# The shared-memory store of PMIx now and then crashes a rank in MPI_Init when srun starts it.
export PMIX_MCA_gds=hash
@SETUP@

launcher=
signals=0
stop() {
  signals=$((signals + 1))
  echo "$(date '+%F %T') told to stop: the ranks save"
  [ -z "$launcher" ] || kill -USR1 "$launcher" 2>/dev/null
}
trap stop USR1 TERM

echo "$(date '+%F %T') job $SLURM_JOB_ID on $SLURM_JOB_NODELIST, restart ${SLURM_RESTART_COUNT:-0}"
@LAUNCH@ &
launcher=$!

# A signal ends wait, but not what it waits for.
while :; do
  seen=$signals
  wait "$launcher"
  code=$?
  [ "$signals" != "$seen" ] || break
done
echo "$(date '+%F %T') the ranks ended with exit code $code"
@REQUEUE@
exit "$code"
)sh";

constexpr const char* kRequeue = R"sh(
# A signal that came before the ranks could catch it ended them (128 + signal): nothing is lost, they start again.
if [ "$code" = @REQUEUE_CODE@ ] || { [ "$signals" != 0 ] && [ "$code" -gt 128 ]; }; then
  if [ "${SLURM_RESTART_COUNT:-0}" -ge @REQUEUE_LIMIT@ ]; then
    echo "requeued @REQUEUE_LIMIT@ times, which is the limit: submit the script again to go on"
  elif [[ "$(scontrol show job "$SLURM_JOB_ID")" != *JobState=RUNNING* ]]; then
    echo "cancelled, or requeued by Slurm itself"
  else
    scontrol requeue "$SLURM_JOB_ID"
  fi
fi
)sh";

void replace_all(std::string& text, const std::string& name, const std::string& value) {
  for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size()))
    text.replace(at, name.size(), value);
}

/// As one word of a shell.
std::string quoted(const std::string& word) {
  static const std::regex plain("[A-Za-z0-9_./=:,+@%^-]+");
  if (std::regex_match(word, plain)) return word;
  std::string inside = word;
  replace_all(inside, "'", "'\\''");
  return "'" + inside + "'";
}

/// The same, with the number of the array's task for {task}.
std::string quoted_with_task(const std::string& word) {
  static const std::string kTask = "{task}";
  std::string text;
  size_t begin = 0;
  for (size_t at = word.find(kTask); at != std::string::npos; at = word.find(kTask, begin)) {
    if (at > begin) text += quoted(word.substr(begin, at - begin));
    text += "\"$SLURM_ARRAY_TASK_ID\"";
    begin = at + kTask.size();
  }
  return begin == word.size() && begin > 0 ? text : text + quoted(word.substr(begin));
}

std::string directives(const SlurmJob& job) {
  std::string text;
  const auto add = [&](const auto&... parts) { text += str("#SBATCH ", parts..., "\n"); };
  add("--job-name=", job.name);
  add("--nodes=", job.nodes);
  add("--ntasks-per-node=", job.ranks_per_node);
  add("--cpus-per-task=", job.cpus_per_rank);
  if (job.gpus_per_node > 0) add("--gpus-per-node=", job.gpus_per_node);
  add("--time=", job.time);
  if (!job.partition.empty()) add("--partition=", job.partition);
  if (!job.account.empty()) add("--account=", job.account);
  if (!job.array.empty()) add("--array=", job.array);
  add("--output=", !job.output.empty() ? job.output : job.array.empty() ? "%x-%j.log" : "%x-%A_%a.log");
  add("--open-mode=append");
  add("--signal=B:USR1@", job.save_seconds);
  add("--requeue");
  for (const std::string& option : job.options) add(option);
  return text;
}

std::string launch(const SlurmJob& job) {
  std::string text = job.launcher == "srun"
                         ? str("srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=", job.cpus_per_rank)
                         : str("mpirun -n ", job.nodes * job.ranks_per_node,
                               " --map-by ppr:", job.ranks_per_node, ":node --bind-to none -x PMIX_MCA_gds");
  const std::string program =
      job.program.empty() ? std::filesystem::read_symlink("/proc/self/exe").string() : job.program;
  text += str(" \\\n  ", quoted(program));
  for (const std::string& word : job.command) text += str(" ", quoted_with_task(word));
  return text;
}

std::string script_of(const SlurmJob& job) {
  std::string text = kTemplate, setup;
  for (const std::string& line : job.setup) setup += line + "\n";
  replace_all(text, "@REQUEUE@\n", kRequeue);
  replace_all(text, "@REQUEUE_CODE@", std::to_string(kExitRequeue));
  replace_all(text, "@REQUEUE_LIMIT@", std::to_string(job.requeues));
  replace_all(text, "@DIRECTIVES@\n", directives(job));
  replace_all(text, "@SETUP@\n", setup);
  replace_all(text, "@LAUNCH@", launch(job));
  return text;
}

}  // namespace

std::string sbatch_script(const SlurmJob& job) {
  TESSERA_CHECK(!job.command.empty(),
                "slurm: command is empty; give what the ranks run, e.g. --command train "
                "launch/configs/demo_1t1i.json out=runs/mine");
  TESSERA_CHECK(!job.array.empty() || std::ranges::none_of(job.command,
                                                           [](const std::string& word) {
                                                             return word.find("{task}") != std::string::npos;
                                                           }),
                "slurm: {task} in command needs an array, e.g. array=0-7");
  const std::string script = script_of(job);
  for (const Finding& finding : lint_batch_script(script))
    TESSERA_CHECK(finding.severity != Severity::error, "slurm: ", finding.what, ": ", finding.advice);
  return script;
}

}  // namespace tessera
