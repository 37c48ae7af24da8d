#include "launch/slurm/lint.h"

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>

#include "launch/slurm/lint_rules.h"
#include "runtime/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

void lint_lines(LintedScript& linted) {
  const std::vector<std::string>& lines = linted.script.lines;
  if (lines.empty() || !lines[0].starts_with("#!"))
    linted.error(1, "sbatch refuses a script whose first line names no interpreter",
                 "begin with #!/bin/bash");
  const auto dos = std::ranges::find_if(lines, [](const std::string& line) { return line.ends_with('\r'); });
  if (dos != lines.end())
    linted.error(static_cast<int>(dos - lines.begin()) + 1, "sbatch refuses DOS line ends (CRLF)",
                 "sed -i 's/\\r$//' the script");
  static const std::regex nearly("^[ \t]*#[ \t]*sbatch([ \t-].*|$)", std::regex::icase);
  bool commands_began = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    const int line = static_cast<int>(i) + 1;
    const size_t begin = lines[i].find_first_not_of(" \t\r");
    if (begin != std::string::npos && lines[i][begin] != '#') commands_began = true;
    if (lines[i].starts_with("#SBATCH")) {
      if (commands_began)
        linted.error(line, "sbatch does not read options after the first command",
                     "move the line up, before every command");
    } else if (std::regex_match(lines[i], nearly)) {
      linted.warning(line, "to sbatch this is a comment",
                     "options begin with #SBATCH at the first column, in capitals and without blanks");
    }
  }
}

/// Options of srun that people look for among those of sbatch.
bool of_srun_alone(const std::string& name) {
  static const std::set<std::string> kNames{"--mpi", "--kill-on-bad-exit", "--cpu-bind", "--label",
                                            "--unbuffered"};
  return kNames.contains(name);
}

void lint_directives(LintedScript& linted) {
  std::map<std::string, const Directive*> seen;
  for (const Directive& directive : linted.script.directives) {
    const auto& [name, value, problem] = directive.option;
    if (of_srun_alone(name))
      linted.error(directive.line, str(name, " is an option of srun, and sbatch refuses it"),
                   "write it behind srun");
    else if (!problem.empty())
      linted.error(directive.line, problem, "correct it, or sbatch refuses the script");
    else if (value.find('$') != std::string::npos)
      linted.error(directive.line, str("sbatch takes ", value, " as it stands, it knows no variables here"),
                   "write the value itself, or use %j, %x, %A and %a in names of files");
    const auto [first, is_new] = seen.try_emplace(name, &directive);
    if (!is_new && first->second->option.value != value)
      linted.warning(first->second->line, str("--", name, " is given again at line ", directive.line),
                     "keep one: the last one counts");
    first->second = &directive;
  }
  if (const Directive* next = linted.script.find(kNextPart))
    linted.warning(next->line, "the parts of a heterogeneous job from here on are not checked",
                   "compare them with the first one");
  if (const Directive* variables = linted.script.find("export");
      variables && variables->option.value == "NONE")
    linted.warning(variables->line, "--export=NONE reaches srun too, and ranks get no variable of the script",
                   "add export SLURM_EXPORT_ENV=ALL before srun");
}

}  // namespace

int LintedScript::line_of(std::string_view directive) const {
  const Directive* found = script.find(directive);
  return found ? found->line : 1;
}

std::optional<int64_t> LintedScript::tasks() const {
  if (const auto tasks = script.number("ntasks")) return tasks;
  const auto per_node = script.number("ntasks-per-node");
  const int64_t nodes = script.find("nodes") ? script.number("nodes").value_or(0) : 1;
  if (nodes == 0) return std::nullopt;
  return nodes * per_node.value_or(1);
}

void lint_text(LintedScript& linted) {
  lint_lines(linted);
  lint_directives(linted);
}

void lint_output(LintedScript& linted) {
  const bool array = linted.script.find("array") != nullptr;
  for (const char* name : {"output", "error"}) {
    const Directive* directive = linted.script.find(name);
    if (!directive) continue;
    const std::string& pattern = directive->option.value;
    const bool by_job = std::regex_search(pattern, std::regex("%[0-9]*[jJ]")),
               by_task = std::regex_search(pattern, std::regex("%[0-9]*a"));
    if (array && !by_job && !by_task)
      linted.error(directive->line, str("all tasks of the array write into ", pattern),
                   "put %A_%a into the name");
    if (!array && !by_job && !std::regex_search(pattern, std::regex("%[0-9]*A")) && pattern != "/dev/null")
      linted.warning(directive->line, str("every job writes into the same ", pattern),
                     "put %j into the name");
    const std::string folder = fs::path(pattern).parent_path();
    const Directive* moved = linted.script.find("chdir");
    const fs::path where = (moved ? fs::path(moved->option.value) : fs::path()) / folder;
    if (!folder.empty() && folder.find_first_of("%$") == std::string::npos && !fs::exists(where))
      linted.error(directive->line,
                   str("there is no folder ", where.string(),
                       ", and Slurm ends a job without a word where it cannot write its log"),
                   "mkdir -p " + where.string());
  }
}

std::vector<Finding> lint_batch_script(const std::string& text) {
  LintedScript linted{read_batch_script(text), {}};
  linted.launches = find_launches(linted.script);
  for (const auto rules :
       {lint_text, lint_resources, lint_output, lint_stopping, lint_launches, lint_trainings})
    rules(linted);
  std::ranges::stable_sort(linted.findings, {}, &Finding::line);
  return std::move(linted.findings);
}

bool has_errors(const std::vector<Finding>& findings) {
  return std::ranges::find(findings, Severity::error, &Finding::severity) != findings.end();
}

void print_findings(const std::string& path, const std::vector<Finding>& findings, std::ostream& out) {
  const auto errors = std::ranges::count(findings, Severity::error, &Finding::severity);
  const auto warnings = std::ssize(findings) - errors;
  for (const Finding& finding : findings)
    out << path << ':' << finding.line << (finding.severity == Severity::error ? ": error: " : ": warning: ")
        << finding.what << ": " << finding.advice << '\n';
  out << path << ": " << errors << (errors == 1 ? " error, " : " errors, ") << warnings
      << (warnings == 1 ? " warning\n" : " warnings\n");
}

}  // namespace tessera
