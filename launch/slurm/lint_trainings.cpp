// Rules of the linter about what is trained: the config, its folders, threads and GPUs.

#include <algorithm>
#include <filesystem>

#include "launch/config.h"
#include "launch/slurm/lint_rules.h"

namespace tessera {
namespace {

using Settings = std::map<std::string, std::string>;

/// key=value words and --device of a command line; those with variables of the shell too.
Settings written_settings(const std::vector<std::string>& words) {
  Settings settings;
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (words[i] == "--device" && i + 1 < words.size())
      settings["device"] = words[++i];
    else if (equals != std::string::npos)
      settings[words[i].starts_with("--") ? words[i].substr(2, equals - 2) : words[i].substr(0, equals)] =
          words[i].substr(equals + 1);
  }
  return settings;
}

/// Adds what the config file of `train` says, or a finding when the training would refuse it.
void read_config(LintedScript& linted, const Launch& launch, Settings& settings) {
  const std::vector<std::string>& words = launch.training;
  const auto has_variable = [](const std::string& word) { return word.find('$') != std::string::npos; };
  if (words[0] != "train") return;
  std::string path;
  std::vector<std::string> overrides;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i].starts_with("-"))
      i += words[i] == "--device";
    else if (i == 1 && words[i].find('=') == std::string::npos)
      path = words[i];
    else if (!has_variable(words[i]))
      overrides.push_back(words[i]);
    else if (!words[i].starts_with("out=") && !words[i].starts_with("data="))
      return;  // the settings are not known before the job runs
  }
  if (has_variable(path)) return;
  try {
    const Json flat = flat_settings(load_config(path, overrides));
    for (const auto& [key, value] : flat.items())
      settings.try_emplace(key, value.is_string() ? value.get<std::string>() : value.dump());
  } catch (const std::exception& error) {
    linted.error(launch.line, str("the training would refuse its settings: ", error.what()), "correct them");
  }
}

std::string value_of(const Settings& settings, const std::string& key) {
  const auto found = settings.find(key);
  return found == settings.end() ? "" : found->second;
}

/// On a disk that no other machine sees, in all likelihood.
bool is_local(const std::string& folder) {
  for (const char* root :
       {"/tmp", "/var/tmp", "/dev/shm", "$TMPDIR", "${TMPDIR}", "$SLURM_TMPDIR", "${SLURM_TMPDIR}"})
    if (folder == root || folder.starts_with(std::string(root) + "/")) return true;
  return false;
}

void lint_folders(LintedScript& linted, const Launch& launch, const Settings& settings) {
  const Directive* nodes = linted.script.find("nodes");
  const bool several = nodes && linted.script.number("nodes") != 1;
  for (const char* key : {"out", "data"}) {
    const std::string folder = value_of(settings, key);
    if (!is_local(folder)) continue;
    if (several)
      linted.error(launch.line, str(key, "=", folder, " is another folder on every node"),
                   "choose one on a file system that all nodes share");
    else
      linted.warning(launch.line, str(key, "=", folder, " is gone when the job comes back on another node"),
                     "choose one on a file system that all nodes share");
  }
  const std::string out = value_of(settings, "out");
  if (linted.script.find("array") && out.find('$') == std::string::npos)
    linted.error(launch.line, str("all tasks of the array train in the same folder, out=", out),
                 "put $SLURM_ARRAY_TASK_ID into out");
}

void lint_threads(LintedScript& linted, const Launch& launch, const Settings& settings) {
  const int64_t threads = whole_number(value_of(settings, "threads")).value_or(0),
                cpus = linted.script.number("cpus-per-task").value_or(1);
  if (threads > cpus)
    linted.error(launch.line, str(threads, " threads of a rank share ", cpus, cpus == 1 ? " CPU" : " CPUs"),
                 str("add #SBATCH --cpus-per-task=", threads, ", or leave threads out"));
  if (whole_number(value_of(settings, "thread_ranks")).value_or(1) > 1 && launch.launcher != Launcher::none)
    linted.error(launch.line, "thread_ranks is for runs without srun and mpirun, and refused under them",
                 "leave it out");
}

void lint_gpus(LintedScript& linted, const Launch& launch, const Settings& settings) {
  if (value_of(settings, "device") != "cuda") return;
  const int64_t ranks = linted.script.number("ntasks-per-node").value_or(1);
  std::optional<int64_t> gpus = linted.gpus("gpus-per-node");
  if (!gpus) gpus = linted.gpus("gres");
  if (gpus && *gpus < ranks)
    linted.error(
        launch.line,
        str(ranks, " ranks of a node share ", *gpus, *gpus == 1 ? " GPU" : " GPUs", ", and each takes one"),
        str("add #SBATCH --gpus-per-node=", ranks));
  if (!gpus && !linted.gpus("gpus-per-task") && !linted.gpus("gpus"))
    linted.error(launch.line, "device=cuda, and the job asks for no GPU",
                 str("add #SBATCH --gpus-per-node=", ranks));
}

}  // namespace

void lint_trainings(LintedScript& linted) {
  for (const Launch& launch : linted.launches) {
    if (launch.training.empty()) continue;
    Settings settings = written_settings(launch.training);
    read_config(linted, launch, settings);
    lint_folders(linted, launch, settings);
    lint_threads(linted, launch, settings);
    lint_gpus(linted, launch, settings);
    if (value_of(settings, "resume") == "false")
      linted.error(launch.line, "resume=false makes a requeued job refuse its own checkpoints",
                   "leave resume out");
  }
}

}  // namespace tessera
