// Batch scripts: what the generator writes, and what the linter says of scripts that people write.

#include <fstream>
#include <regex>

#include "launch/slurm/batch_script.h"
#include "launch/slurm/job.h"
#include "launch/slurm/lint.h"
#include "runtime/replace_file.h"
#include "tests/launch/cli.h"

namespace tessera {
namespace {

SlurmJob job_of(const Words& command) {
  SlurmJob job;
  job.program = "/opt/tessera";
  job.command = command;
  return job;
}

void expect_shell_reads(const std::string& script) {
  const TemporaryFolder folder;
  replace_file(folder / "job.sh", script);
  const CommandResult result = run_command({"bash", "-n", folder / "job.sh"});
  EXPECT_EQ(result.code, 0) << result.err << script;
  EXPECT_EQ(result.err, "") << script;
}

void expect_clean(const std::string& script) {
  for (const Finding& finding : lint_batch_script(script))
    ADD_FAILURE() << finding.line << ": " << finding.what << ": " << finding.advice << "\n" << script;
  expect_shell_reads(script);
}

TEST(SlurmJob, EveryCombinationIsCleanAndReadByTheShell) {
  int scripts = 0;
  for (const char* launcher : {"srun", "mpirun"})
    for (const char* array : {"", "0-3%2"})
      for (int64_t gpus : {0, 4})
        for (int64_t requeues : {0, 5})
          for (const char* setup : {"", "module load openmpi"}) {
            SlurmJob job = job_of({"train", "out=runs/a b_{task}'s", "threads=3"});
            if (*array == 0) job.command[1] = "out=runs/plain";
            if (gpus > 0) job.command.push_back("device=cuda");
            job.nodes = 2;
            job.ranks_per_node = 4;
            job.cpus_per_rank = 3;
            job.launcher = launcher;
            job.array = array;
            job.gpus_per_node = gpus;
            job.requeues = requeues;
            job.partition = "main";
            job.account = "me";
            job.options = {"--mem=0", "--constraint=ib"};
            if (*setup != 0) job.setup = {setup};
            expect_clean(sbatch_script(job));
            ++scripts;
          }
  EXPECT_EQ(scripts, 32);
}

TEST(SlurmJob, AsksForWhatTheJobSays) {
  SlurmJob job = job_of({"train", "out=runs/mine"});
  job.nodes = 3;
  job.ranks_per_node = 2;
  job.cpus_per_rank = 5;
  job.gpus_per_node = 2;
  job.time = "1-00:00:00";
  job.partition = "long";
  job.array = "";
  job.options = {"--mem=0"};
  const BatchScript script = read_batch_script(sbatch_script(job));
  const std::map<std::string, std::string> expected{
      {"job-name", "tessera"}, {"nodes", "3"},         {"ntasks-per-node", "2"}, {"cpus-per-task", "5"},
      {"gpus-per-node", "2"},  {"time", "1-00:00:00"}, {"partition", "long"},    {"output", "%x-%j.log"},
      {"open-mode", "append"}, {"requeue", ""},        {"signal", "B:USR1@120"}, {"mem", "0"}};
  std::map<std::string, std::string> found;
  for (const Directive& directive : script.directives) found[directive.option.name] = directive.option.value;
  EXPECT_EQ(found, expected);
}

TEST(SlurmJob, RefusesWhatTheLinterCallsAnError) {
  const auto message = [](const SlurmJob& job) -> std::string {
    try {
      return sbatch_script(job);
    } catch (const Error& error) {
      return error.what();
    }
  };
  const auto expect = [&](const SlurmJob& job, const std::string& part) {
    EXPECT_TRUE(message(job).starts_with("slurm: ")) << message(job);
    EXPECT_NE(message(job).find(part), std::string::npos) << message(job);
  };
  expect(job_of({}), "command is empty");
  expect(job_of({"train", "out=runs/{task}"}), "{task} in command needs an array");
  SlurmJob job = job_of({"train", "out=runs/mine"});
  job.array = "0-3";
  expect(job, "all tasks of the array train in the same folder, out=runs/mine");
  job.array = "";
  job.time = "00:02:00";
  expect(job, "a time limit of 120 s leaves no time");
  job.time = "soon";
  expect(job, "--time=soon");
  job.time = "01:00:00";
  job.options = {"--nodse=2"};
  expect(job, "did you mean --nodes?");
  job.options = {};
  job.command = {"train", "threads=8"};
  expect(job, "8 threads of a rank share 1 CPU");
  job.command = {"train", "trheads=8"};
  expect(job, "did you mean \"threads\"");
  job.command = {"train", "out=/tmp/run"};
  job.nodes = 2;
  expect(job, "out=/tmp/run is another folder on every node");
}

/// The body of a generated script with srun, scontrol and squeue replaced: what it does with exit codes and signals.
class SlurmScript : public testing::Test {
 protected:
  /// Runs the script as Slurm would; ranks is the body of a shell script that stands for srun.
  CommandResult run(const std::string& ranks, const std::string& state = "RUNNING", int restarts = 0) {
    program("srun", ranks);
    program("scontrol", "echo \"$@\" >> " + (folder_ / "calls") + "; echo JobState=" + state);
    SlurmJob job = job_of({"train", "out=runs/mine"});
    job.requeues = 3;
    replace_file(folder_ / "job.sh", sbatch_script(job));
    return run_command({"env", "PATH=" + (folder_ / "") + ":/usr/bin:/bin", "SLURM_JOB_ID=7",
                        "SLURM_JOB_NODELIST=h1", str("SLURM_RESTART_COUNT=", restarts), "bash",
                        folder_ / "job.sh"});
  }
  void program(const std::string& name, const std::string& body) {
    replace_file(folder_ / name, "#!/bin/bash\n" + body + "\n");
    std::filesystem::permissions(folder_ / name, std::filesystem::perms::owner_all);
  }
  bool requeued() const {
    std::ifstream in(folder_ / "calls");
    const std::string text(std::istreambuf_iterator<char>(in), {});
    return text.find("requeue 7") != std::string::npos;
  }

  TemporaryFolder folder_;
};

TEST_F(SlurmScript, RequeuesOnlyWhatWasSaved) {
  const struct {
    int code;
    const char* state;
    int restarts;
    bool requeued;
  } cases[] = {{0, "RUNNING", 0, false},    {1, "RUNNING", 0, false},  {2, "RUNNING", 0, false},
               {85, "RUNNING", 0, true},    {85, "RUNNING", 2, true},  {85, "RUNNING", 3, false},
               {85, "CANCELLED", 0, false}, {139, "RUNNING", 0, false}};
  for (const auto& [code, state, restarts, expected] : cases) {
    std::filesystem::remove(folder_ / "calls");
    const CommandResult result = run(str("exit ", code), state, restarts);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_EQ(requeued(), expected) << code << " " << state << " " << restarts << "\n" << result.out;
  }
}

TEST_F(SlurmScript, PassesSignalsOnAndWaits) {
  // The ranks tell the script to stop, and need a while after they were told themselves.
  const std::string saving =
      "trap 'sleep 0.2; exit 85' USR1; kill -SIGNAL $PPID; while :; do sleep 0.01; done";
  for (const char* signal : {"USR1", "TERM"}) {
    std::filesystem::remove(folder_ / "calls");
    const CommandResult result = run(std::regex_replace(saving, std::regex("SIGNAL"), signal));
    EXPECT_EQ(result.code, 85) << result.err;
    EXPECT_TRUE(requeued()) << signal;
    EXPECT_NE(result.out.find("told to stop"), std::string::npos) << result.out;
  }
}

TEST_F(SlurmScript, RanksThatAreStoppedBeforeTheyCanSaveStartAgain) {
  const CommandResult result = run("kill -USR1 $PPID; while :; do sleep 0.01; done");
  EXPECT_EQ(result.code, 128 + 10) << result.err;
  EXPECT_TRUE(requeued());
}

/// A script without fault, to be damaged.
const char* const kGood = R"(#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=4
#SBATCH --time=02:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --requeue

export PMIX_MCA_gds=hash
stop() { kill -USR1 "$ranks"; }
trap stop USR1 TERM
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=8 build/tessera train out=runs/mine device=cuda &
ranks=$!
while wait "$ranks"; code=$?; kill -0 "$ranks" 2>/dev/null; do :; done
if [ "$code" = 85 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
)";

/// Replaces what must be there once.
std::string with(std::string text, const std::string& before, const std::string& after) {
  const size_t at = text.find(before);
  EXPECT_NE(at, std::string::npos) << before;
  return text.replace(at, before.size(), after);
}

TEST(SlurmLint, AGoodScriptIsClean) { expect_clean(kGood); }

struct Damage {
  const char *before, *after;
  Severity severity;
  int line;
  const char *what, *advice;
};

constexpr Severity kError = Severity::error, kWarning = Severity::warning;

TEST(SlurmLint, SaysWhereAndWhatWillGoWrong) {
  const Damage damages[] = {
      {"#!/bin/bash\n", "\n", kError, 1, "no interpreter", "#!/bin/bash"},
      {"--nodes=2\n", "--nodes=2\r\n", kError, 2, "CRLF", "sed"},
      {"--nodes=2", "--ndoes=2", kError, 2, "no option --ndoes", "correct it"},
      {"--nodes=2", "--nodes", kError, 2, "--nodes needs a value", "correct it"},
      {"--nodes=2", "nodes=2", kError, 2, "\"nodes=2\" is no option", "correct it"},
      {"--requeue", "--requeue=1", kError, 10, "--requeue takes no value", "correct it"},
      {"--nodes=2", "--nodes=$NODES", kError, 2, "sbatch takes $NODES as it stands", "the value itself"},
      {"--nodes=2", "--mpi=pmix", kError, 2, "--mpi is an option of srun", "behind srun"},
      {"#SBATCH --nodes=2", "# SBATCH --nodes=2", kWarning, 2, "a comment", "first column"},
      {"#SBATCH --nodes=2", " #SBATCH --nodes=2", kWarning, 2, "a comment", "first column"},
      {"#SBATCH --nodes=2", "#sbatch --nodes=2", kWarning, 2, "a comment", "capitals"},
      {"\nexport PMIX", "\ncd here\n#SBATCH --mem=0\nexport PMIX", kError, 13, "after the first command",
       "move the line up"},
      {"#SBATCH --nodes=2", "#SBATCH --nodes=2 -N 3", kWarning, 2, "--nodes is given again", "the last one"},
      {"--requeue\n", "--requeue --export=NONE\n", kWarning, 10, "--export=NONE", "SLURM_EXPORT_ENV"},

      {"#SBATCH --time=02:00:00\n", "", kWarning, 1, "without --time", "--time"},
      {"02:00:00", "2h", kError, 6, "--time=2h is no time", "HOURS"},
      {"02:00:00", "3", kError, 6, "180 s leaves no time to train", "more time"},
      {"#SBATCH --signal=B:USR1@120\n", "", kWarning, 6, "KillWait", "--signal=B:USR1"},
      {"B:USR1@120", "B:NAME@120", kError, 9, "none that sbatch takes", "B:USR1@120"},
      {"B:USR1@120", "B:USR2@120", kError, 9, "USR2 to this script alone, which it ends", "trap for USR2"},
      {"B:USR1@120", "HUP@120", kError, 9, "does not catch HUP", "USR1"},
      {"kill -USR1 \"$ranks\"", "echo stop", kError, 9, "nothing sends it on", "kill -USR1"},
      {"device=cuda &", "device=cuda", kError, 15, "the signal comes too late", "&"},
      {"trap stop USR1 TERM", "trap stop USR1", kWarning, 15, "scancel and pre-emption", "trap TERM"},
      {"scontrol requeue \"$SLURM_JOB_ID\"", "true", kError, 15, "nothing here puts the job back",
       "scontrol requeue"},
      {"[ \"$code\" = 85 ] &&", "", kError, 18, "whatever the ranks' exit code", "after exit code 85"},
      {"&& [ \"${SLURM_RESTART_COUNT:-0}\" -lt 5 ]", "", kWarning, 18, "nothing limits",
       "SLURM_RESTART_COUNT"},
      {"--requeue", "--no-requeue", kError, 10, "makes scontrol requeue fail", "--requeue"},
      {"#SBATCH --requeue\n", "", kWarning, 1, "node failures", "--requeue"},
      {"append", "truncate", kError, 8, "starts its log anew", "append"},
      {"#SBATCH --open-mode=append\n", "", kError, 1, "starts its log anew", "append"},

      {"%x-%j.log", "train.log", kWarning, 7, "every job writes into the same", "%j"},
      {"%x-%j.log", "no/such/folder/%j.log", kError, 7, "no folder no/such/folder", "mkdir -p"},
      {"%x-%j.log", "%x.log\n#SBATCH --array=0-3", kError, 7, "all tasks of the array write into %x.log",
       "%A_%a"},
      {"--requeue\n", "--requeue --array=0-3\n", kError, 15,
       "all tasks of the array train in the same folder", "SLURM_ARRAY_TASK_ID"},

      {" --mpi=pmix", "", kError, 15, "without --mpi=pmix", "--mpi=pmix"},
      {"--mpi=pmix", "--mpi=pmi2", kError, 15, "through --mpi=pmi2", "--mpi=pmix"},
      {" --kill-on-bad-exit=1", "", kError, 15, "when a rank dies", "--kill-on-bad-exit=1"},
      {" --kill-on-bad-exit=1", " -K0", kError, 15, "when a rank dies", "--kill-on-bad-exit=1"},
      {"export PMIX_MCA_gds=hash", "", kWarning, 15, "crashes in MPI_Init", "PMIX_MCA_gds=hash"},
      {" --cpus-per-task=8 build", " build", kError, 15, "a rank gets one CPU", "--cpus-per-task=8"},
      {"srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=8 ", "", kError, 15, "one of the 8 ranks starts",
       "srun"},
      {"build/tessera train", "mpirun build/tessera train", kError, 15, "once per task", "one of the two"},
      {"--ntasks-per-node=4", "--ntasks-per-node=4 --ntasks=6", kWarning, 3,
       "2 nodes of 4 ranks are not --ntasks=6", "leave --ntasks out"},
      {"--gpus-per-node=4", "--gpus-per-node=2", kError, 15, "4 ranks of a node share 2 GPUs",
       "--gpus-per-node=4"},
      {"#SBATCH --gpus-per-node=4\n", "", kError, 14, "asks for no GPU", "--gpus-per-node=4"},
      {"--gpus-per-node=4", "--gpus-per-node=4 --gpus-per-task=2", kError, 5, "do not make --gpus-per-node=4",
       "agree"},

      {"out=runs/mine", "out=/tmp/mine", kError, 15, "out=/tmp/mine is another folder on every node",
       "all nodes share"},
      {"out=runs/mine", "out=$TMPDIR/mine", kError, 15, "is another folder on every node", "all nodes share"},
      {"out=runs/mine", "out=a thread_ranks=2", kError, 15, "thread_ranks is for runs without",
       "leave it out"},
      {"out=runs/mine", "out=a threads=9", kError, 15, "9 threads of a rank share 8 CPUs",
       "--cpus-per-task=9"},
      {"out=runs/mine", "out=a resume=false", kError, 15, "refuse its own checkpoints", "leave resume out"},
      {"out=runs/mine", "out=a modle.width=8", kError, 15, "did you mean \"model\"", "correct"},
      {"train out", "train no/such.json out", kError, 15, "no/such.json", "correct"},
  };
  for (const Damage& damage : damages) {
    const std::vector<Finding> findings = lint_batch_script(with(kGood, damage.before, damage.after));
    const auto fits = [&](const Finding& finding) {
      return finding.severity == damage.severity && finding.line == damage.line &&
             finding.what.find(damage.what) != std::string::npos &&
             finding.advice.find(damage.advice) != std::string::npos;
    };
    std::string all;
    for (const Finding& finding : findings)
      all += str(finding.line, ": ", finding.what, ": ", finding.advice, "\n");
    EXPECT_EQ(std::ranges::count_if(findings, fits), 1) << damage.before << " -> " << damage.after << "\n"
                                                        << all;
  }
}

TEST(SlurmLint, ReadsMpirun) {
  const std::string good =
      with(kGood, "srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=8", "mpirun -n 8 --bind-to none");
  expect_clean(good);
  const auto expect = [&](const std::string& before, const std::string& after, Severity severity,
                          const std::string& what) {
    const std::vector<Finding> findings = lint_batch_script(with(good, before, after));
    EXPECT_TRUE(std::ranges::any_of(findings, [&](const Finding& finding) {
      return finding.severity == severity && finding.what.find(what) != std::string::npos;
    })) << what;
  };
  expect("-n 8", "-np 9", kError, "to start 9 ranks, but Slurm gives 8 slots");
  expect("-n 8", "-n 4", kWarning, "4 of the 8 ranks");
  expect("--bind-to none", "", kWarning, "bind a rank and all its threads to one core");
  expect("-n 8", "--hostfile hosts", kWarning, "list of hosts");
  expect("-n 8", "--oversubscribe", kWarning, "hides");
  expect("-n 8", "--mca plm rsh", kWarning, "not Slurm's");
  expect("-n 8", "-n 8 srun", kError, "mpirun starts srun");
  expect("B:USR1@120", "USR1@120", kError, "the ranks of mpirun do not get it");
}

TEST(SlurmLint, ReadsTheShellAsFarAsItMust) {
  // Continuations, here-documents, comments, quotes, substitutions, variables in front, other programs.
  const std::string text =
      with(with(kGood, "srun --mpi=pmix", "time PMIX_MCA_gds=hash srun \\\n  --mpi=pmix"),
           "export PMIX_MCA_gds=hash",
           "cat > note <<END\nsrun train\nscontrol requeue\nEND\n# srun train\n"
           "echo \"srun; $(srun hostname) \\\"\" 'mpirun &' > log 2>&1 && mkdir -p logs");
  for (const Finding& finding : lint_batch_script(text))
    ADD_FAILURE() << finding.line << ": " << finding.what;
  const BatchScript script =
      read_batch_script("#!/bin/bash\n#SBATCH -N2 --time 10:00 -J 'a b' # -n 9\nA=1 B='2 3' run x &\n");
  EXPECT_EQ(script.number("nodes"), 2);
  EXPECT_EQ(script.find("time")->option.value, "10:00");
  EXPECT_EQ(script.find("job-name")->option.value, "a b");
  EXPECT_EQ(script.find("ntasks"), nullptr);
  ASSERT_EQ(script.commands.size(), 1u);
  EXPECT_EQ(script.commands[0].line, 3);
  EXPECT_EQ(script.commands[0].words, (Words{"run", "x"}));
  EXPECT_EQ(script.commands[0].variables.at("B"), "2 3");
  EXPECT_TRUE(script.commands[0].background);
}

TEST(SlurmLint, LeavesOtherJobsAlone) {
  const auto findings = [](const std::string& text) {
    Words all;
    for (const Finding& finding : lint_batch_script(text)) all.push_back(finding.what);
    return all;
  };
  const std::string head = "#!/bin/bash\n#SBATCH --time=10:00 --signal=USR1@60\n";
  EXPECT_EQ(findings(head + "srun tessera doctor runs\necho tessera train\n"),
            Words{"no training is started here that this check can see"});
  const Words parts =
      findings(with(kGood, "#SBATCH --requeue\n", "#SBATCH --requeue\n#SBATCH hetjob\n#SBATCH --nodes=9\n"));
  EXPECT_EQ(parts, Words{"the parts of a heterogeneous job from here on are not checked"});
}

TEST(SlurmLint, ReadsTimesAsSbatchDoes) {
  EXPECT_EQ(slurm_seconds("90"), 5400);
  EXPECT_EQ(slurm_seconds("1:30"), 90);
  EXPECT_EQ(slurm_seconds("01:00:30"), 3630);
  EXPECT_EQ(slurm_seconds("2-12"), 60 * 3600);
  EXPECT_EQ(slurm_seconds("1-01:01:01"), 86400 + 3661);
  EXPECT_GT(slurm_seconds("UNLIMITED").value(), int64_t{1} << 60);
  for (const char* bad : {"", "abc", "1:2:3:4", "-5", "1-", "99999999999999999999"})
    EXPECT_FALSE(slurm_seconds(bad)) << bad;
}

class CliSlurmTest : public CliTest {};

TEST_F(CliSlurmTest, WritesAndChecksScripts) {
  const std::string script = folder_ / "job.sh";
  const Words words = tessera_words({"slurm", "nodes=2", "launcher=mpirun", "--out", script, "--command",
                                     "train", config_, "out=shared/run", "data=shared/data"});
  expect_success(words);
  const CommandResult good = run_command(tessera_words({"slurm", "--check", script}));
  EXPECT_EQ(good.code, 0);
  EXPECT_EQ(good.out, script + ": 0 errors, 0 warnings\n");
  EXPECT_NE(bytes_of_file(script).find("mpirun -n 2"), std::string::npos);
  EXPECT_NE(bytes_of_file(script).find(std::filesystem::canonical(TESSERA_PROGRAM).string()),
            std::string::npos);

  replace_file(script, with(bytes_of_file(script), "--open-mode=append", "--open-mod=truncate"));
  const CommandResult bad = run_command(tessera_words({"slurm", "--check", script}));
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.out.find(script + ":8: error: a requeued job starts its log anew"), std::string::npos)
      << bad.out;
  EXPECT_NE(bad.out.find("1 error, 0 warnings"), std::string::npos) << bad.out;

  expect_refusal(tessera_words({"slurm", "--check", folder_ / "none.sh"}), 1, {"none.sh"});
  expect_refusal(tessera_words({"slurm", "nodes=0"}), 1, {"nodes must be in [1, 1e+06], got 0"});
  expect_refusal(tessera_words({"slurm", "lancher=srun"}), 1, {"did you mean \"launcher\""});
  const CommandResult keys = run_command(tessera_words({"slurm", "--keys"}));
  EXPECT_NE(keys.out.find("save_seconds = 120"), std::string::npos) << keys.out;
}

}  // namespace
}  // namespace tessera
