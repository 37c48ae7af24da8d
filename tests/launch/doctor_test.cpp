#include "launch/doctor.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "launch/doctor_checks.h"
#include "runtime/cuda_engine.h"
#include "runtime/json.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

/// Sets an environment variable, or takes it away, until the end of the test.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    const char* before = std::getenv(name);
    if (before) before_ = before;
    had_ = before != nullptr;
    value ? setenv(name, value, 1) : unsetenv(name);
  }
  ~Environment() { had_ ? setenv(name_, before_.c_str(), 1) : unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::string before_;
  bool had_ = false;
};

struct Diagnosis {
  int code = 0;
  std::string text;
  std::map<std::string, Json> checks;
};

Diagnosis diagnose(const std::string& folder, int ranks, DoctorFormat format = DoctorFormat::json) {
  Diagnosis diagnosis;
  std::ostringstream out;
  run_ranks(ranks, [&](Communicator& world) {
    const int code = run_doctor(folder, world, out, format);
    if (world.rank() == 0) diagnosis.code = code;
  });
  diagnosis.text = out.str();
  if (format == DoctorFormat::json)
    for (const Json& check : Json::parse(diagnosis.text)) diagnosis.checks[check["check"]] = check;
  return diagnosis;
}

TEST(Doctor, AHealthyFolderPasses) {
  const TemporaryFolder folder;
  const Diagnosis diagnosis = diagnose(folder / "runs", 2);
  EXPECT_EQ(diagnosis.code, 0) << diagnosis.text;
  for (const char* name :
       {"mpi", "launcher", "pmix", "ranks", "binding", "signals", "processor", "cores", "memory",
        "huge pages", "hdf5", "compiler", "gpus", "clock", "folder", "file system", "shared"})
    EXPECT_TRUE(diagnosis.checks.contains(name)) << name;
  for (const char* name : {"signals", "clock", "file system", "shared"})
    EXPECT_EQ(diagnosis.checks.at(name)["verdict"], "ok") << name;
  EXPECT_TRUE(std::filesystem::is_empty(folder / "runs"));
}

TEST(Doctor, EveryWarningSaysWhatToDo) {
  const TemporaryFolder folder;
  for (const auto& [name, check] : diagnose(folder / "", 1).checks)
    EXPECT_EQ(check["verdict"] == "ok", check["advice"] == "") << check;
}

TEST(Doctor, TextHasOneLinePerCheck) {
  const TemporaryFolder folder;
  std::istringstream lines(diagnose(folder / "", 1, DoctorFormat::text).text);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    EXPECT_TRUE(line.starts_with("ok    ") || line.starts_with("warn  ") || line.starts_with("fail  "))
        << line;
  EXPECT_EQ(count, 17);
}

TEST(Doctor, MoreRanksThanCoresIsAWarning) {
  const TemporaryFolder folder;
  const Diagnosis diagnosis =
      diagnose(folder / "", static_cast<int>(std::thread::hardware_concurrency()) + 1);
  EXPECT_EQ(diagnosis.checks.at("ranks")["verdict"], "warn");
  EXPECT_EQ(diagnosis.code, 0);
}

TEST(Doctor, AFolderThatCannotBeWrittenFails) {
  const TemporaryFolder folder;
  write_file(folder / "file", "");
  const Diagnosis diagnosis = diagnose(folder / "file/runs", 2);
  EXPECT_EQ(diagnosis.code, 1);
  EXPECT_EQ(diagnosis.checks.at("folder")["verdict"], "fail");
}

TEST(Doctor, SrunWithoutTheHashStoreIsAWarning) {
  const TemporaryFolder folder;
  const Environment mpirun("OMPI_COMM_WORLD_SIZE", nullptr), job("SLURM_JOB_ID", "7"), rank("PMIX_RANK", "0"),
      tasks("SLURM_STEP_NUM_TASKS", "1"), version("PMIX_VERSION", "4.2.2");
  {
    const Environment store("PMIX_MCA_gds", nullptr);
    const Json check = diagnose(folder / "", 1).checks.at("pmix");
    EXPECT_EQ(check["verdict"], "warn");
    EXPECT_NE(check["advice"].get<std::string>().find("PMIX_MCA_gds=hash"), std::string::npos);
  }
  const Environment store("PMIX_MCA_gds", "hash");
  auto checks = diagnose(folder / "", 1).checks;
  EXPECT_EQ(checks.at("pmix")["verdict"], "ok");
  EXPECT_EQ(checks.at("pmix")["found"], "PMIx 4.2.2, store hash");
  EXPECT_EQ(checks.at("launcher")["found"], "srun, 1 rank");
}

TEST(Doctor, RanksThatDoNotFindEachOtherAreToldApart) {
  const TemporaryFolder folder;
  const auto launcher = [&] { return diagnose(folder / "", 1).checks.at("launcher"); };
  const Environment rank("PMIX_RANK", nullptr), version("PMIX_VERSION", nullptr);
  {
    const Environment mpirun("OMPI_COMM_WORLD_SIZE", nullptr), job("SLURM_JOB_ID", "7"),
        tasks("SLURM_NTASKS", "4");
    EXPECT_EQ(launcher()["verdict"], "warn");
  }
  {
    const Environment mpirun("OMPI_COMM_WORLD_SIZE", nullptr), job("SLURM_JOB_ID", nullptr),
        other("PMI_SIZE", "4");
    EXPECT_EQ(launcher()["verdict"], "warn");  // MPICH's mpirun
  }
  {
    const Environment mpirun("OMPI_COMM_WORLD_SIZE", "4");
    EXPECT_EQ(launcher()["verdict"], "fail");
  }
  {
    const Environment mpirun("OMPI_COMM_WORLD_SIZE", "1"), job("SLURM_JOB_ID", "7"),
        tasks("SLURM_NTASKS", "4");
    EXPECT_EQ(launcher()["verdict"], "warn");  // mpirun -n 1 in a job of four
  }
  const Environment mpirun("OMPI_COMM_WORLD_SIZE", nullptr), job("SLURM_JOB_ID", nullptr),
      tasks("SLURM_NTASKS", nullptr);
  EXPECT_EQ(launcher()["verdict"], "ok");
}

TEST(Doctor, GpusThatThisBuildCannotUseAreAWarning) {
  if (!cuda_devices().toolkit.empty()) GTEST_SKIP() << "this build has CUDA";
  const TemporaryFolder folder;
  const Environment given("SLURM_GPUS_ON_NODE", "2");
  EXPECT_EQ(diagnose(folder / "", 1).checks.at("gpus")["verdict"], "warn");
}

TEST(Doctor, BlockedSignalsAreAWarning) {
  const TemporaryFolder folder;
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const Json check = diagnose(folder / "", 2).checks.at("signals");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(check["verdict"], "warn");
  EXPECT_NE(check["found"].get<std::string>().find("rank 0 does not get USR1"), std::string::npos) << check;
}

/// Ranks on machines that the test makes up.
AllFacts facts_of(const std::vector<std::pair<std::string, std::vector<int>>>& ranks, int64_t online) {
  AllFacts facts;
  for (const auto& [host, cores] : ranks) {
    RankFacts& rank = facts.emplace_back();
    rank.place.host = host;
    rank.place.cores = cores;
    rank.online_cores = online;
  }
  return facts;
}

TEST(Doctor, SaysHowRanksShareCores) {
  const auto check = [](const AllFacts& facts) { return check_binding(facts); };
  const Check shared = check(facts_of({{"a", {0, 1}}, {"a", {0, 1}}, {"b", {0, 1}}, {"b", {0, 1}}}, 2));
  EXPECT_EQ(shared.verdict, Verdict::ok);
  EXPECT_EQ(shared.found, "on a, b: all ranks may use the same 2 cores of 2");
  const Check own = check(facts_of({{"a", {0, 1}}, {"a", {2, 3}}, {"b", {0, 1}}}, 4));
  EXPECT_EQ(own.verdict, Verdict::ok);
  EXPECT_EQ(own.found, "on a, b: each rank has 2 cores of its own, of 4");
  EXPECT_EQ(check(facts_of({{"a", {0}}, {"a", {1}}}, 8)).verdict, Verdict::warn);  // bound to one of many
  EXPECT_EQ(check(facts_of({{"a", {0}}, {"a", {1}}}, 2)).verdict, Verdict::ok);    // there are no more
  EXPECT_EQ(check(facts_of({{"a", {3}}, {"a", {3}}}, 8)).verdict, Verdict::warn);  // on one core
  EXPECT_EQ(check(facts_of({{"a", {0, 1}}, {"a", {1, 2}}}, 8)).verdict, Verdict::warn);
}

TEST(Doctor, UnevenMachinesAreAWarning) {
  const std::vector<int> cores{0, 1, 2, 3};
  EXPECT_EQ(check_ranks(facts_of({{"a", cores}, {"b", cores}}, 4)).verdict, Verdict::ok);
  const Check uneven = check_ranks(facts_of({{"a", cores}, {"a", cores}, {"b", cores}}, 4));
  EXPECT_EQ(uneven.verdict, Verdict::warn);
  EXPECT_EQ(uneven.found, "2 ranks on 4 cores of a; 1 rank on 4 cores of b");
}

TEST(Doctor, ClocksThatDisagreeAreAWarning) {
  AllFacts facts = facts_of({{"a", {0}}, {"b", {0}}}, 1);
  facts[0].clock = 1e9;
  facts[1].clock = 1e9 + 0.002;
  EXPECT_EQ(check_clock(facts).verdict, Verdict::ok);
  facts[0].clock += 90;
  const Check check = check_clock(facts);
  EXPECT_EQ(check.verdict, Verdict::warn);
  EXPECT_TRUE(check.found.starts_with("the clock of a is 1 min 30 s ahead of that of b")) << check.found;
}

TEST(Doctor, AFolderThatOtherMachinesDoNotSeeFails) {
  const TemporaryFolder folder;
  run_ranks(1, [&](Communicator& world) {
    const FolderTrial trial(folder / "", world);
    EXPECT_EQ(trial.unseen(), "");
    EXPECT_EQ(trial.mapping_problem(), "");
    AllFacts facts = facts_of({{"a", {0}}, {"b", {0}}}, 1);
    for (const Check& check : trial.checks(facts))
      EXPECT_EQ(check.verdict, Verdict::ok) << check.name << check.found;
    facts[1].folder = "file is not seen";
    facts[1].mapping = "mmap: Invalid argument";
    const std::vector<Check> checks = trial.checks(facts);
    EXPECT_EQ(checks[1].verdict, Verdict::warn);
    EXPECT_NE(checks[1].found.find("cannot be mapped by rank 1 (b)"), std::string::npos) << checks[1].found;
    EXPECT_EQ(checks[2].verdict, Verdict::fail);
    EXPECT_EQ(checks[2].found, "file is not seen, at rank 1 (b)");
  });
  EXPECT_TRUE(std::filesystem::is_empty(folder / ""));
}

}  // namespace
}  // namespace tessera
