// Rules of the linter about how ranks are started and what Slurm gives them.

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>

#include "launch/slurm/lint_rules.h"
#include "runtime/error.h"

namespace tessera {
namespace {

bool starts_ranks(const std::string& word) {
  static const std::set<std::string> kPrograms{"srun", "mpirun", "mpiexec"};
  return kPrograms.contains(std::filesystem::path(word).filename());
}

bool is_training(const std::string& word) {
  static const std::set<std::string> kCommands{"train", "train-routers", "train-image-tokenizer"};
  return kCommands.contains(word);
}

/// tessera doctor, evaluate and the like, which need no care.
bool runs_briefly(const ShellCommand& command) {
  for (size_t i = 0; i + 1 < command.words.size(); ++i)
    if (std::filesystem::path(command.words[i]).filename() == "tessera")
      return !is_training(command.words[i + 1]);
  return false;
}

std::optional<Launch> launch_of(const ShellCommand& command) {
  if (command.words.empty() || command.words[0] == "echo" || runs_briefly(command)) return {};
  const auto launcher = std::ranges::find_if(command.words, starts_ranks);
  const auto training = std::ranges::find_if(command.words, is_training);
  const bool trains = training != command.words.end() && training != command.words.begin();
  if (launcher == command.words.end() && !(trains && training[-1].find("tessera") != std::string::npos))
    return {};
  if (launcher != command.words.end() && launcher != command.words.begin() && !trains)
    return {};  // an argument
  Launch launch{.line = command.line, .variables = command.variables, .background = command.background};
  if (launcher != command.words.end()) {
    launch.launcher =
        std::filesystem::path(*launcher).filename() == "srun" ? Launcher::srun : Launcher::mpirun;
    launch.options.assign(launcher + 1, trains ? training - 1 : command.words.end());
  }
  if (trains) launch.training.assign(training, command.words.end());
  return launch;
}

/// "pmix", "pmix_v4": what Debian's and most builds of Open MPI speak.
void lint_pmix(LintedScript& linted, const Launch& launch) {
  std::optional<std::string> type = launch.option({"--mpi"});
  if (!type && !linted.variable(launch, "SLURM_MPI_TYPE").empty())
    type = linted.variable(launch, "SLURM_MPI_TYPE");
  if (!type)
    linted.error(launch.line,
                 "without --mpi=pmix every rank is alone where that is not the cluster's default",
                 "add --mpi=pmix");
  else if (!type->starts_with("pmix"))
    linted.error(launch.line, str("Open MPI does not find its ranks through --mpi=", *type),
                 "use --mpi=pmix");
  if (linted.variable(launch, "PMIX_MCA_gds") != "hash")
    linted.warning(launch.line,
                   "about one start in a hundred crashes in MPI_Init: the shared-memory store of PMIx",
                   "export PMIX_MCA_gds=hash");
}

void lint_srun(LintedScript& linted, const Launch& launch) {
  if (std::ranges::any_of(launch.options, starts_ranks)) {
    linted.error(launch.line, "srun starts mpirun once per task", "use one of the two");
    return;
  }
  lint_pmix(linted, launch);
  const std::optional<std::string> kill = launch.option({"--kill-on-bad-exit", "-K"});
  if ((!kill || *kill == "0") && linted.variable(launch, "SLURM_KILL_BAD_EXIT") != "1")
    linted.error(launch.line, "when a rank dies, the others wait for it until the time limit",
                 "add --kill-on-bad-exit=1");
  const std::optional<int64_t> cpus = linted.script.number("cpus-per-task");
  if (cpus.value_or(1) > 1 && !launch.option({"--cpus-per-task", "-c"}) &&
      linted.variable(launch, "SRUN_CPUS_PER_TASK").empty())
    linted.error(launch.line,
                 "since Slurm 22.05 srun does not take --cpus-per-task from sbatch, and a rank gets one CPU",
                 str("add --cpus-per-task=", *cpus));
}

void lint_mpirun(LintedScript& linted, const Launch& launch) {
  if (std::ranges::any_of(launch.options, starts_ranks)) {
    linted.error(launch.line, "mpirun starts srun once per rank", "use one of the two");
    return;
  }
  const std::optional<std::string> ranks = launch.option({"-n", "-np", "--np", "-c", "--n"});
  const int64_t given = linted.tasks().value_or(0),
                asked = ranks ? whole_number(*ranks).value_or(given) : given;
  if (given > 0 && asked > given)
    linted.error(launch.line, str("mpirun is to start ", asked, " ranks, but Slurm gives ", given, " slots"),
                 "make nodes times ntasks-per-node that number");
  if (given > 0 && asked < given)
    linted.warning(launch.line,
                   str("mpirun starts ", asked, " of the ", given, " ranks that the job has room for"),
                   "leave -n out, or ask Slurm for less");
  if (!launch.option({"--bind-to", "-bind-to"}))
    linted.warning(launch.line, "mpirun may bind a rank and all its threads to one core",
                   "add --bind-to none");
  if (launch.option({"--hostfile", "-hostfile", "--machinefile", "-machinefile", "-H", "--host", "-host"}))
    linted.warning(launch.line, "a list of hosts of its own may differ from what Slurm gives the job",
                   "leave it out: mpirun asks Slurm");
  if (launch.option({"--oversubscribe", "-oversubscribe"}))
    linted.warning(launch.line, "--oversubscribe hides that there are more ranks than slots", "leave it out");
  const auto plm = std::ranges::find(launch.options, "plm");
  if (plm != launch.options.end() && plm + 1 != launch.options.end() && plm[1] != "slurm")
    linted.warning(launch.line,
                   str("ranks that are started through ", plm[1], " are not Slurm's and may outlive the job"),
                   "leave --mca plm out");
}

void lint_gpus(LintedScript& linted) {
  const BatchScript& script = linted.script;
  const auto node = linted.gpus("gpus-per-node"), task = linted.gpus("gpus-per-task"),
             tasks = script.number("ntasks-per-node");
  if (!node || !task) return;
  const int line = linted.line_of("gpus-per-task");
  if (!tasks)
    linted.error(line, "--gpus-per-node and --gpus-per-task leave open how many ranks a node has",
                 "add --ntasks-per-node, or leave --gpus-per-task out");
  else if (*node != *task * *tasks)
    linted.error(
        line,
        str(*tasks, " ranks per node with --gpus-per-task=", *task, " do not make --gpus-per-node=", *node),
        "let the product agree, or leave --gpus-per-task out");
}

}  // namespace

std::optional<std::string> Launch::option(const std::vector<std::string>& names) const {
  for (size_t i = 0; i < options.size(); ++i)
    for (const std::string& name : names) {
      const std::string& word = options[i];
      if (word == name) {
        const bool has_value = i + 1 < options.size() && !options[i + 1].starts_with("-");
        return has_value ? options[i + 1] : "";
      }
      if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
      // -n4, but not -np for -n
      if (name.size() == 2 && word.size() > 2 && word.starts_with(name) &&
          std::isdigit(static_cast<unsigned char>(word[2])))
        return word.substr(2);
    }
  return std::nullopt;
}

std::string LintedScript::variable(const Launch& launch, const std::string& name) const {
  if (const auto own = launch.variables.find(name); own != launch.variables.end()) return own->second;
  std::string value;
  for (const ShellCommand& command : script.commands) {
    if (command.line > launch.line) break;
    if (command.words.empty() || command.words[0] != "export") continue;
    for (const std::string& word : command.words)
      if (word.starts_with(name + "=")) value = word.substr(name.size() + 1);
  }
  return value;
}

std::optional<int64_t> LintedScript::gpus(std::string_view directive) const {
  const Directive* found = script.find(directive);
  if (!found) return std::nullopt;
  const std::string& value = found->option.value;
  if (directive == "gres" && !value.starts_with("gpu")) return std::nullopt;
  return whole_number(value.substr(value.rfind(':') + 1)).value_or(1);
}

std::vector<Launch> find_launches(const BatchScript& script) {
  std::vector<Launch> launches;
  for (const ShellCommand& command : script.commands)
    if (const std::optional<Launch> launch = launch_of(command)) launches.push_back(*launch);
  const auto trains = [](const Launch& launch) { return !launch.training.empty(); };
  // Beside a training, srun hostname and its like need no care.
  if (std::ranges::any_of(launches, trains)) std::erase_if(launches, std::not_fn(trains));
  return launches;
}

void lint_resources(LintedScript& linted) {
  const BatchScript& script = linted.script;
  const auto nodes = script.number("nodes"), per_node = script.number("ntasks-per-node"),
             tasks = script.number("ntasks");
  if (nodes && per_node && tasks && *nodes * *per_node != *tasks)
    linted.warning(linted.line_of("ntasks"),
                   str(*nodes, " nodes of ", *per_node, " ranks are not --ntasks=", *tasks),
                   "leave --ntasks out");
  lint_gpus(linted);
}

void lint_launches(LintedScript& linted) {
  if (linted.launches.empty())
    linted.warning(1, "no training is started here that this check can see",
                   "write srun or mpirun and tessera train in this script itself");
  for (const Launch& launch : linted.launches) {
    if (launch.launcher == Launcher::srun) lint_srun(linted, launch);
    if (launch.launcher == Launcher::mpirun) lint_mpirun(linted, launch);
    if (launch.launcher == Launcher::none && linted.tasks().value_or(1) > 1)
      linted.error(launch.line, str("without srun or mpirun one of the ", *linted.tasks(), " ranks starts"),
                   "write srun --mpi=pmix --kill-on-bad-exit=1 in front");
  }
}

}  // namespace tessera
