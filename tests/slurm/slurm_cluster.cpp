// Trainings as jobs of a real Slurm: submitted, stopped in every way that Slurm stops jobs, requeued, resumed, and compared
// bit by bit with a run that was never stopped.  Run inside tests/slurm/cluster.sh, by `make verify-slurm`.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>

#include "data/synthetic.h"
#include "launch/slurm/lint.h"
#include "launch/slurm/sbatch_options.h"
#include "parallel/checkpoint.h"
#include "runtime/json.h"
#include "runtime/replace_file.h"
#include "tests/support/command.h"
#include "tests/support/run_results.h"

namespace tessera {
namespace {

using Words = std::vector<std::string>;

/// A program that talks to Slurm, which may hang with it.
CommandResult limited(const Words& words) {
  Words all{"timeout", "30"};
  all.insert(all.end(), words.begin(), words.end());
  return run_command(all);
}

class SlurmCluster : public testing::Test {
 protected:
  static constexpr int kSteps = 1600;  // a fast machine takes a hundred before Slurm hands a signal on

  static void SetUpTestSuite() {
    const char* cluster = std::getenv("CLUSTER_FOLDER");
    if (!cluster) return;
    std::filesystem::current_path(cluster);
    write_synthetic_dataset("data", 7);
    write_json("config.json", {{"data", "data"},
                               {"steps", kSteps},
                               {"save_every", 100000},
                               {"threads", 1},
                               {"model",
                                {{"vocab", 64},
                                 {"width", 16},
                                 {"layers", 1},
                                 {"heads", 2},
                                 {"hidden", 24},
                                 {"feed_forward", {"2t1i"}}}},
                               {"loader", {{"micro_batches", 4}, {"mixed_units", 1}, {"text_units", 1}}},
                               {"schedule", {{"warmup", 2}, {"peak", 0.003}}}});
  }
  void SetUp() override {
    if (!std::getenv("CLUSTER_FOLDER"))
      GTEST_SKIP() << "runs inside tests/slurm/cluster.sh (make verify-slurm)";
    // Ranks that wait give their core to those that compute.
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 1);
  }

  static std::string run_of(const std::string& name) { return "run_" + name; }

  /// Writes NAME.sh for two hosts of two ranks, which trains in run_NAME, and submits it.
  static std::string submit(const std::string& name, const Words& settings = {},
                            const Words& overrides = {}) {
    Words words{TESSERA_PROGRAM, "slurm", "nodes=2", "ranks_per_node=2", "program=" TESSERA_PROGRAM};
    words.insert(words.end(), settings.begin(), settings.end());
    const Words rest{"--out", name + ".sh", "--command", "train", "config.json", "out=" + run_of(name)};
    words.insert(words.end(), rest.begin(), rest.end());
    words.insert(words.end(), overrides.begin(), overrides.end());
    const CommandResult written = run_command(words);
    EXPECT_EQ(written.code, 0) << written.err;
    const CommandResult checked = run_command({TESSERA_PROGRAM, "slurm", "--check", name + ".sh"});
    EXPECT_EQ(checked.code, 0) << checked.out;
    EXPECT_NE(checked.out.find("0 errors, 0 warnings"), std::string::npos) << checked.out;
    const CommandResult submitted = limited({"sbatch", "--parsable", name + ".sh"});
    EXPECT_EQ(submitted.code, 0) << submitted.err;
    return submitted.out.substr(0, submitted.out.find('\n'));
  }

  /// A field of `scontrol show job`, e.g. JobState.
  static std::string field(const std::string& job, const std::string& name) {
    const std::string text = limited({"scontrol", "show", "job", "-o", job}).out;
    std::smatch part;
    return std::regex_search(text, part, std::regex("\\b" + name + "=([^ ]*)")) ? part[1].str() : "";
  }

  static std::string log_of(const std::string& job) {
    for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator("."))
      if (entry.path().extension() == ".log" && entry.path().string().find("-" + job) != std::string::npos) {
        std::ifstream in(entry.path());
        std::ostringstream text;
        text << in.rdbuf();
        return text.str();
      }
    return "no log of job " + job;
  }

  template <class Condition>
  static void wait_for(const std::string& what, const std::string& job, const Condition& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(3);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end)
        throw Error(str("waited 3 minutes for ", what, " of job ", job, ", which is ", field(job, "JobState"),
                        "\n", log_of(job)));
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  static void wait_for_state(const std::string& job, const std::string& state) {
    wait_for(state, job, [&] { return field(job, "JobState") == state; });
  }
  /// Until a training that has just begun, or begun again, has taken that many steps more.
  static void wait_for_steps(const std::string& job, const std::string& run, int64_t steps) {
    const auto taken = [&] {
      std::ifstream in(run + "/metrics.jsonl");
      return std::count(std::istreambuf_iterator<char>(in), {}, '\n');
    };
    const int64_t before = taken();
    wait_for(str(steps, " steps"), job, [&] { return taken() >= before + steps; });
  }
  /// Slurm would let a requeued job wait for two minutes.
  static void let_start_again(const std::string& job) {
    wait_for_state(job, "PENDING");
    std::this_thread::sleep_for(
        std::chrono::seconds(3));  // else "job credential revoked", and it fails for good
    const CommandResult result = limited({"scontrol", "update", "JobId=" + job, "StartTime=now"});
    EXPECT_EQ(result.code, 0) << result.err;
  }
  static void send(const Words& words) {
    const CommandResult result = limited(words);
    EXPECT_EQ(result.code, 0) << result.err;
  }

  /// The result of the same training by one process that nobody stops.
  static void expect_undisturbed_bits(const std::string& run, const Words& overrides = {}) {
    std::string whole = "whole";
    for (const std::string& word : overrides) whole += "_" + word;
    if (!std::filesystem::exists(whole)) {
      Words words{TESSERA_PROGRAM, "train", "config.json", "out=" + whole};
      words.insert(words.end(), overrides.begin(), overrides.end());
      const CommandResult result = run_command(words);
      ASSERT_EQ(result.code, 0) << result.err;
    }
    EXPECT_TRUE(losses(run) == losses(whole));
    EXPECT_EQ(losses(run).size(), size_t{kSteps});
    const auto bits = checkpoint_bits(latest_checkpoint(run).value());
    EXPECT_GT(bits.size(), 10u);
    EXPECT_TRUE(bits == checkpoint_bits(latest_checkpoint(whole).value()));
  }
  static void expect_finished(const std::string& job, const std::string& restarts) {
    wait_for_state(job, "COMPLETED");
    EXPECT_EQ(field(job, "Restarts"), restarts) << log_of(job);
    EXPECT_EQ(field(job, "ExitCode"), "0:0");
  }
  static void expect_stops_without_trace(const std::string& launcher);
};

/// Told to stop twice: the ranks by a signal of their own, then the script.
void SlurmCluster::expect_stops_without_trace(const std::string& launcher) {
  const std::string run = run_of(launcher), job = submit(launcher, {"launcher=" + launcher});
  wait_for_steps(job, run, 50);
  send({"scancel", "--signal=USR1", job});
  let_start_again(job);
  wait_for_steps(job, run, 50);
  send({"scancel", "--batch", "--signal=USR1", job});
  let_start_again(job);
  expect_finished(job, "2");
  expect_undisturbed_bits(run);
  const std::string log = log_of(job);
  for (const char* said : {"restart 0", "restart 1", "restart 2", "told to stop", "signal 10: saved after",
                           "resumed from", "ended with exit code 85", "ended with exit code 0"})
    EXPECT_NE(log.find(said), std::string::npos) << "no \"" << said << "\" in " << log;
}

TEST_F(SlurmCluster, SignalsUnderSrunLeaveTheSameBits) { expect_stops_without_trace("srun"); }
TEST_F(SlurmCluster, SignalsUnderMpirunLeaveTheSameBits) { expect_stops_without_trace("mpirun"); }

/// Slurm sends the signal of --signal by itself: it looks at its clock every half a minute.
TEST_F(SlurmCluster, TheTimeLimitBringsTheJobBack) {
  unsetenv(
      "OMPI_MCA_mpi_yield_when_idle");  // waiting ranks hold their core: the first stay takes longer than that
  const std::string job =
      submit("limit", {"time=00:30:00", "save_seconds=600",
                       R"(setup=["[ $SLURM_RESTART_COUNT ] && export OMPI_MCA_mpi_yield_when_idle=1"])"});
  wait_for_steps(job, run_of("limit"), 10);
  send({"scontrol", "update", "JobId=" + job, "TimeLimit=5"});
  wait_for_state(job, "PENDING");
  EXPECT_NE(log_of(job).find("told to stop"), std::string::npos) << log_of(job);
  send({"scontrol", "update", "JobId=" + job, "TimeLimit=30"});
  let_start_again(job);
  expect_finished(job, "1");
  expect_undisturbed_bits(run_of("limit"));
}

TEST_F(SlurmCluster, ANodeThatFailsBringsTheJobBack) {
  const std::string job = submit("failure", {}, {"save_every=20"});
  wait_for_steps(job, run_of("failure"), 50);
  send({"scontrol", "update", "NodeName=h2", "State=DOWN", "Reason=test"});
  let_start_again(job);
  expect_finished(job, "1");
  expect_undisturbed_bits(run_of("failure"));
}

TEST_F(SlurmCluster, TasksOfAnArrayAreRequeuedOneByOne) {
  const std::string job = submit("array_{task}", {"array=1-2", "ranks_per_node=1"}, {"seed={task}"});
  const std::string first = job + "_1", second = job + "_2";
  wait_for_steps(first, run_of("array_1"), 50);
  send({"scancel", "--signal=USR1", first});
  let_start_again(first);
  expect_finished(second, "0");
  expect_finished(first, "1");
  for (const std::string task : {"1", "2"})
    expect_undisturbed_bits(run_of("array_" + task), {"seed=" + task});
}

TEST_F(SlurmCluster, ACancelledJobSavesAndStaysAway) {
  const std::string job = submit("cancelled");
  wait_for_steps(job, run_of("cancelled"), 50);
  send({"scancel", job});
  wait_for("its end", job, [&] { return log_of(job).find("ended with exit code") != std::string::npos; });
  wait_for_state(job, "CANCELLED");
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(field(job, "JobState"), "CANCELLED");
  EXPECT_EQ(field(job, "Restarts"), "0");
  EXPECT_TRUE(latest_checkpoint(run_of("cancelled"))) << log_of(job);
}

TEST_F(SlurmCluster, TheLimitOfRequeuesEndsTheJob) {
  const std::string job = submit("limited", {"requeues=0"});
  wait_for_steps(job, run_of("limited"), 50);
  send({"scancel", "--signal=USR1", job});
  wait_for_state(job, "FAILED");
  EXPECT_EQ(field(job, "ExitCode"), "85:0");
  EXPECT_NE(log_of(job).find("which is the limit"), std::string::npos) << log_of(job);
}

TEST_F(SlurmCluster, ABadSettingFailsWithoutComingBack) {
  std::filesystem::copy("data", "damaged", std::filesystem::copy_options::recursive);
  replace_file("damaged/index.json", "{}");
  const std::string job = submit("bad", {}, {"data=damaged"});
  wait_for_state(job, "FAILED");
  EXPECT_EQ(field(job, "ExitCode"), "1:0");
  EXPECT_EQ(field(job, "Restarts"), "0");
  EXPECT_NE(log_of(job).find("damaged/index.json"), std::string::npos) << log_of(job);
}

TEST_F(SlurmCluster, DoctorSeesHostsAndLauncher) {
  setenv("PMIX_MCA_gds", "hash", 1);
  const CommandResult result = limited({"srun", "--nodes=2", "--ntasks-per-node=2", "--mpi=pmix",
                                        TESSERA_PROGRAM, "doctor", "doctor", "--json"});
  unsetenv("PMIX_MCA_gds");
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  std::map<std::string, Json> checks;
  for (const Json& check : Json::parse(result.out)) checks[check["check"]] = check;
  EXPECT_EQ(checks.at("launcher")["found"], "srun, 4 ranks");
  for (const char* name :
       {"launcher", "pmix", "ranks", "binding", "signals", "clock", "file system", "shared"})
    EXPECT_EQ(checks.at(name)["verdict"], "ok") << checks.at(name);
  EXPECT_NE(checks.at("binding")["found"].get<std::string>().find("on h1, h2: "), std::string::npos);
  const std::string ranks = checks.at("ranks")["found"];
  EXPECT_NE(ranks.find("of h1; 2 ranks on"), std::string::npos) << ranks;
}

/// What sbatch says of one directive.
bool sbatch_takes(const std::string& directive) {
  replace_file("directive.sh", "#!/bin/bash\n#SBATCH " + directive + "\nsleep 1\n");
  const CommandResult result = limited({"sbatch", "--test-only", "directive.sh"});
  return result.err.find("option") == std::string::npos && result.err.find("Invalid") == std::string::npos;
}

TEST_F(SlurmCluster, KnowsTheOptionsOfThisSbatch) {
  const std::string help = limited({"sbatch", "--help"}).out;
  const std::regex form("\n +(-([A-Za-z]), +|-([A-Z])  )?--([a-z-]+)([=\\[]?)");
  int count = 0;
  for (std::sregex_iterator at(help.begin(), help.end(), form), end; at != end; ++at, ++count) {
    const std::string letter = (*at)[2].matched ? (*at)[2] : (*at)[3], name = (*at)[4], value = (*at)[5];
    const std::optional<SbatchOption> option = sbatch_option(name);
    ASSERT_TRUE(option && option->name == name) << name;
    EXPECT_EQ(option->letter, letter.empty() ? option->letter : letter[0]) << name;
    if (!value.empty()) {
      EXPECT_NE(option->value, OptionValue::none) << name;
    }
  }
  EXPECT_GT(count, 70);
}

/// What the linter says of a directive is what sbatch does.
TEST_F(SlurmCluster, TheLinterAgreesWithSbatch) {
  const Words taken{"--nodes 2",
                    "-N2 -n 4",
                    "--open-mod=append",
                    "--nodes=2 # two",
                    "--comment=\"a b\"",
                    "--nice",
                    "--signal=B:USR1@120",
                    "--signal=TERM",
                    "--time=1-12",
                    "--time=90:00",
                    "--exclusive",
                    "hetjob",
                    "--gpus-per-node=2 --gpus-per-task=1 --ntasks-per-node=2"};
  const Words refused{"--nodess=2",
                      "--nod=2",
                      "nodes=2",
                      "--nodes=2 x",
                      "--requeue=3",
                      "--nodes",
                      "-Z",
                      "--mpi=pmix",
                      "--kill-on-bad-exit=1",
                      "--time=1:2:3:4",
                      "--signal=B:@60",
                      "--signal=B:NONE@3",
                      "--gpus-per-node=2 --gpus-per-task=1",
                      "--gpus-per-node=2 --gpus-per-task=1 --ntasks-per-node=1",
                      "--signal=USR1@70000",
                      "--time=abc"};
  const auto errors_at_2 = [](const std::string& directive) {
    Words errors;
    for (const Finding& finding :
         lint_batch_script("#!/bin/bash\n#SBATCH " + directive + "\nsrun hostname\n"))
      if (finding.line == 2 && finding.severity == Severity::error &&
          finding.what.find("trap") == std::string::npos && finding.what.find("alone") == std::string::npos &&
          finding.what.find("time limit of") == std::string::npos)
        errors.push_back(finding.what);
    return errors;
  };
  for (const std::string& directive : taken) {
    EXPECT_TRUE(sbatch_takes(directive)) << directive;
    EXPECT_EQ(errors_at_2(directive), Words{}) << directive;
  }
  for (const std::string& directive : refused) {
    EXPECT_FALSE(sbatch_takes(directive)) << directive;
    EXPECT_NE(errors_at_2(directive), Words{}) << directive;
  }
}

}  // namespace
}  // namespace tessera
