// Rules of the linter about how a job ends: its time limit, signals, and coming back.

#include <algorithm>
#include <cstring>
#include <regex>
#include <set>

#include "launch/process.h"
#include "launch/slurm/lint_rules.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr int64_t kEarly = 60;  ///< seconds by which Slurm may send the signal of --signal before its time

struct Signal {
  bool to_script = false;
  std::string name;  ///< without SIG
  int64_t seconds = 60;
};

/// "SIGUSR1", "usr1" and "10" as "USR1".
std::string signal_name(std::string name) {
  static const std::map<std::string, std::string> kNumbers{{"1", "HUP"},  {"2", "INT"},   {"3", "QUIT"},
                                                           {"9", "KILL"}, {"10", "USR1"}, {"12", "USR2"},
                                                           {"15", "TERM"}};
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
  if (name.starts_with("SIG")) name.erase(0, 3);
  const auto number = kNumbers.find(name);
  return number == kNumbers.end() ? name : number->second;
}

std::optional<Signal> signal_of(const std::string& value) {
  static const std::regex form("^([RB]+:)?([A-Za-z0-9]+)(@([0-9]{1,9}))?$");
  std::smatch part;
  constexpr int64_t kLongest = 65535;
  static const std::set<std::string> kNames{"HUP",  "INT", "QUIT", "ABRT", "KILL", "ALRM", "TERM", "USR1",
                                            "USR2", "URG", "CONT", "STOP", "TSTP", "TTIN", "TTOU"};
  if (!std::regex_match(value, part, form)) return std::nullopt;
  Signal signal{part[1].str().find('B') != std::string::npos, signal_name(part[2])};
  if (part[4].matched) signal.seconds = std::stoll(part[4]);
  const bool known = kNames.contains(signal.name) || whole_number(signal.name);
  return known && signal.seconds <= kLongest ? std::optional(signal) : std::nullopt;
}

/// Signals that the script catches.
std::set<std::string> trapped(const BatchScript& script) {
  std::set<std::string> names;
  for (const ShellCommand& command : script.commands)
    if (command.words.size() > 2 && command.words[0] == "trap" && command.words[1] != "-")
      for (size_t i = 2; i < command.words.size(); ++i) names.insert(signal_name(command.words[i]));
  return names;
}

/// Some command of the script, or a trap's own text, has the word.
bool mentions(const BatchScript& script, const std::string& word) {
  const std::regex whole("(^|[^A-Za-z0-9_])" + word + "($|[^A-Za-z0-9_])");
  return std::ranges::any_of(script.commands, [&](const ShellCommand& command) {
    return std::ranges::any_of(command.words,
                               [&](const std::string& text) { return std::regex_search(text, whole); });
  });
}

/// A command or a trap sends a signal, which kill -0 does not.
bool sends_signals(const BatchScript& script) {
  static const std::regex form("(^|[^A-Za-z0-9_])(kill +-[^0]|scancel )");
  return std::ranges::any_of(script.commands, [](const ShellCommand& command) {
    std::string text;
    for (const std::string& word : command.words) text += word + " ";
    return std::regex_search(text, form);
  });
}

void lint_signal_to_script(LintedScript& linted, int line, const Signal& signal) {
  if (!trapped(linted.script).contains(signal.name)) {
    linted.error(
        line,
        str("B: sends ", signal.name, " to this script alone, which it ends, and Slurm kills the ranks"),
        str("add a trap for ", signal.name, " that sends USR1 on to srun or mpirun"));
    return;
  }
  if (!sends_signals(linted.script))
    linted.error(line,
                 str("B: sends ", signal.name, " to this script alone, and nothing sends it on to the ranks"),
                 "let the trap run kill -USR1 on the process of srun or mpirun");
  for (const Launch& launch : linted.launches)
    if (!launch.background)
      linted.error(launch.line,
                   "the shell runs a trap only when this command has ended, so the signal comes too late",
                   "start it with & at its end, keep $!, and wait for it");
}

void lint_signal_to_ranks(LintedScript& linted, int line, const Signal& signal) {
  if (std::ranges::none_of(kStopSignals, [&](int caught) { return signal.name == sigabbrev_np(caught); }))
    linted.error(line, str("a rank does not catch ", signal.name, ", which ends it before it has saved"),
                 "use USR1");
  for (const Launch& launch : linted.launches)
    if (launch.launcher == Launcher::mpirun)
      linted.error(
          line, "without B: the signal goes to what srun has started, and the ranks of mpirun do not get it",
          str("write --signal=B:", signal.name, "@", signal.seconds, " and pass it on from a trap"));
}

void lint_signal(LintedScript& linted, std::optional<int64_t> limit) {
  const Directive* directive = linted.script.find("signal");
  if (!directive || !directive->option.problem.empty()) {
    linted.warning(linted.line_of("time"),
                   "at the time limit the ranks have only KillWait (30 s by default) to save, and the job "
                   "does not come back",
                   "add #SBATCH --signal=B:USR1@120 and a trap that passes it on");
    return;
  }
  const std::optional<Signal> signal = signal_of(directive->option.value);
  if (!signal) {
    linted.error(directive->line, str("--signal=", directive->option.value, " is none that sbatch takes"),
                 "write --signal=B:USR1@120");
    return;
  }
  if (signal->to_script)
    lint_signal_to_script(linted, directive->line, *signal);
  else
    lint_signal_to_ranks(linted, directive->line, *signal);
  if (limit && *limit <= signal->seconds + kEarly)
    linted.error(linted.line_of("time"),
                 str("a time limit of ", *limit, " s leaves no time to train: the signal comes ",
                     signal->seconds, " s before the end, and up to ", kEarly, " s earlier"),
                 "ask for more time, or let the signal come later");
}

std::optional<int64_t> lint_time(LintedScript& linted) {
  const Directive* time = linted.script.find("time");
  if (!time) {
    linted.warning(1, "without --time the limit is the partition's, which may be short",
                   "add #SBATCH --time=HOURS:MINUTES:SECONDS");
    return std::nullopt;
  }
  const std::optional<int64_t> limit = slurm_seconds(time->option.value);
  if (!limit && time->option.problem.empty())
    linted.error(time->line, str("--time=", time->option.value, " is no time that sbatch takes"),
                 "write minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS");
  return limit;
}

void lint_open_mode(LintedScript& linted) {
  const Directive* mode = linted.script.find("open-mode");
  if (!mode || mode->option.value != "append")
    linted.error(mode ? mode->line : 1, "a requeued job starts its log anew and loses what it said before",
                 "add #SBATCH --open-mode=append");
}

void lint_requeue(LintedScript& linted) {
  const BatchScript& script = linted.script;
  const auto requeue = std::ranges::find_if(script.commands, [](const ShellCommand& command) {
    const auto at = std::ranges::find(command.words, "scontrol");
    return at != command.words.end() &&
           std::ranges::find(at, command.words.end(), "requeue") != command.words.end();
  });
  const int launch_line = linted.launches[0].line;
  if (requeue == script.commands.end()) {
    linted.error(launch_line,
                 str("ranks that were told to stop save and end with exit code ", int{kExitRequeue},
                     ", and nothing here puts the job back into the queue"),
                 str("after the ranks have ended with ", int{kExitRequeue},
                     ", run scontrol requeue \"$SLURM_JOB_ID\""));
    return;
  }
  if (!mentions(script, std::to_string(kExitRequeue)))
    linted.error(
        requeue->line,
        "the job is requeued whatever the ranks' exit code is, so one that cannot start comes back for ever",
        str("requeue only after exit code ", int{kExitRequeue}));
  if (std::ranges::none_of(script.lines, [](const std::string& line) {
        return line.find("SLURM_RESTART_COUNT") != std::string::npos;
      }))
    linted.warning(requeue->line, "nothing limits how often the job comes back",
                   "compare $SLURM_RESTART_COUNT with a limit");
  if (const Directive* never = script.find("no-requeue"))
    linted.error(never->line, "--no-requeue makes scontrol requeue fail", "write --requeue");
  else if (!script.find("requeue"))
    linted.warning(1,
                   "where the cluster's default is not to requeue, node failures and pre-emption end the job",
                   "add #SBATCH --requeue");
}

}  // namespace

void lint_stopping(LintedScript& linted) {
  lint_signal(linted, lint_time(linted));
  if (linted.launches.empty()) return;
  lint_open_mode(linted);
  lint_requeue(linted);
  if (!trapped(linted.script).contains("TERM"))
    linted.warning(
        linted.launches[0].line,
        "scancel and pre-emption send TERM to this script too, which ends it, and the ranks with it",
        "trap TERM and wait for the ranks");
}

}  // namespace tessera
