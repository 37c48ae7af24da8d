#include "launch/slurm/sbatch_options.h"

#include <algorithm>
#include <iterator>

#include "runtime/json.h"

namespace tessera {
namespace {

constexpr OptionValue kNone = OptionValue::none, kOptional = OptionValue::optional,
                      kRequired = OptionValue::required;

// Those of Slurm 22.05, and what later versions added.
constexpr SbatchOption kOptions[] = {
    {'A', "account", kRequired},
    {0, "acctg-freq", kRequired},
    {'a', "array", kRequired},
    {0, "batch", kRequired},
    {0, "bb", kRequired},
    {0, "bbf", kRequired},
    {'b', "begin", kRequired},
    {'D', "chdir", kRequired},
    {0, "cluster", kRequired},
    {0, "cluster-constraint", kRequired},
    {'M', "clusters", kRequired},
    {0, "comment", kRequired},
    {'C', "constraint", kRequired},
    {0, "container", kRequired},
    {0, "container-id", kRequired},
    {0, "contiguous", kNone},
    {'S', "core-spec", kRequired},
    {0, "cores-per-socket", kRequired},
    {0, "cpu-freq", kRequired},
    {0, "cpus-per-gpu", kRequired},
    {'c', "cpus-per-task", kRequired},
    {0, "deadline", kRequired},
    {0, "delay-boot", kRequired},
    {'d', "dependency", kRequired},
    {'m', "distribution", kRequired},
    {'e', "error", kRequired},
    {'x', "exclude", kRequired},
    {0, "exclusive", kOptional},
    {0, "export", kRequired},
    {0, "export-file", kRequired},
    {'B', "extra-node-info", kRequired},
    {0, "get-user-env", kOptional},
    {0, "gid", kRequired},
    {0, "gpu-bind", kRequired},
    {0, "gpu-freq", kRequired},
    {'G', "gpus", kRequired},
    {0, "gpus-per-node", kRequired},
    {0, "gpus-per-socket", kRequired},
    {0, "gpus-per-task", kRequired},
    {0, "gres", kRequired},
    {0, "gres-flags", kRequired},
    {'h', "help", kNone},
    {0, "hint", kRequired},
    {'H', "hold", kNone},
    {0, "ignore-pbs", kNone},
    {'i', "input", kRequired},
    {'J', "job-name", kRequired},
    {0, "kill-on-invalid-dep", kRequired},
    {'L', "licenses", kRequired},
    {0, "mail-type", kRequired},
    {0, "mail-user", kRequired},
    {0, "mcs-label", kRequired},
    {0, "mem", kRequired},
    {0, "mem-bind", kRequired},
    {0, "mem-per-cpu", kRequired},
    {0, "mem-per-gpu", kRequired},
    {0, "mincpus", kRequired},
    {0, "network", kRequired},
    {0, "nice", kOptional},
    {'k', "no-kill", kOptional},
    {0, "no-requeue", kNone},
    {'F', "nodefile", kRequired},
    {'w', "nodelist", kRequired},
    {'N', "nodes", kRequired},
    {'n', "ntasks", kRequired},
    {0, "ntasks-per-core", kRequired},
    {0, "ntasks-per-gpu", kRequired},
    {0, "ntasks-per-node", kRequired},
    {0, "ntasks-per-socket", kRequired},
    {0, "oom-kill-step", kOptional},
    {0, "open-mode", kRequired},
    {'o', "output", kRequired},
    {'O', "overcommit", kNone},
    {'s', "oversubscribe", kNone},
    {0, "parsable", kNone},
    {'p', "partition", kRequired},
    {0, "power", kRequired},
    {0, "prefer", kRequired},
    {0, "priority", kRequired},
    {0, "profile", kRequired},
    {0, "propagate", kOptional},
    {'q', "qos", kRequired},
    {'Q', "quiet", kNone},
    {0, "reboot", kNone},
    {0, "requeue", kNone},
    {0, "reservation", kRequired},
    {0, "resv-ports", kOptional},
    {0, "segment", kRequired},
    {0, "signal", kRequired},
    {0, "sockets-per-node", kRequired},
    {0, "spread-job", kNone},
    {0, "stepmgr", kNone},
    {0, "switches", kRequired},
    {0, "test-only", kNone},
    {0, "thread-spec", kRequired},
    {0, "threads-per-core", kRequired},
    {'t', "time", kRequired},
    {0, "time-min", kRequired},
    {0, "tmp", kRequired},
    {0, "tres-bind", kRequired},
    {0, "tres-per-task", kRequired},
    {0, "uid", kRequired},
    {0, "usage", kNone},
    {0, "use-min-nodes", kNone},
    {'v', "verbose", kNone},
    {'V', "version", kNone},
    {'W', "wait", kNone},
    {0, "wait-all-nodes", kRequired},
    {0, "wckey", kRequired},
    {0, "wrap", kRequired},
};

GivenOption unknown(const std::string& written, const std::string& name) {
  return {written, "",
          str("sbatch has no option ", written, "; did you mean --", nearest_sbatch_option(name), "?")};
}

/// A short word such as -N2, whose value may be the word after it.
GivenOption read_short(const std::vector<std::string>& words, size_t& at) {
  const std::string word = words[at];
  const std::optional<SbatchOption> option = sbatch_option(word[1]);
  if (!option) return unknown(word, word.substr(1));
  GivenOption given{std::string(option->name), word.substr(2)};
  if (option->value == OptionValue::required && given.value.empty() && at + 1 < words.size())
    given.value = words[++at];
  return given;
}

GivenOption read_long(const std::vector<std::string>& words, size_t& at) {
  const std::string word = words[at];
  const size_t equals = word.find('=');
  const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
  const std::optional<SbatchOption> option = sbatch_option(name);
  if (!option) return unknown("--" + name, name);
  GivenOption given{std::string(option->name), equals == std::string::npos ? "" : word.substr(equals + 1)};
  if (option->value == OptionValue::none && equals != std::string::npos)
    given.problem = str("--", given.name, " takes no value");
  if (option->value == OptionValue::required && equals == std::string::npos && at + 1 < words.size())
    given.value = words[++at];
  return given;
}

}  // namespace

std::optional<SbatchOption> sbatch_option(std::string_view name) {
  std::optional<SbatchOption> beginning;
  int beginnings = 0;
  for (const SbatchOption& option : kOptions) {
    if (option.name == name) return option;
    if (!name.empty() && option.name.starts_with(name)) beginning = option, ++beginnings;
  }
  return beginnings == 1 ? beginning : std::nullopt;
}

std::optional<SbatchOption> sbatch_option(char letter) {
  const auto* option = std::ranges::find(kOptions, letter, &SbatchOption::letter);
  if (letter == 0 || option == std::end(kOptions)) return std::nullopt;
  return *option;
}

std::string nearest_sbatch_option(const std::string& name) {
  std::vector<std::string> names;
  for (const SbatchOption& option : kOptions) names.emplace_back(option.name);
  return nearest(name, names);
}

std::vector<GivenOption> read_sbatch_options(const std::vector<std::string>& words) {
  std::vector<GivenOption> options;
  for (size_t at = 0; at < words.size(); ++at) {
    const std::string word = words[at];
    if (word == kNextPart) {
      options.push_back({word, ""});
      break;
    }
    if (!word.starts_with("-") || word.size() < 2) {
      options.push_back({word, "", str("\"", word, "\" is no option: sbatch refuses the script")});
      break;
    }
    GivenOption given = word.starts_with("--") ? read_long(words, at) : read_short(words, at);
    const std::optional<SbatchOption> option = sbatch_option(given.name);
    if (option && option->value == OptionValue::required && given.value.empty())
      given.problem = str("--", given.name, " needs a value");
    options.push_back(std::move(given));
  }
  return options;
}

}  // namespace tessera
