#include "launch/doctor.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

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
       {"mpi", "launcher", "ranks", "processor", "cores", "memory", "huge pages", "hdf5", "folder", "shared"})
    EXPECT_TRUE(diagnosis.checks.contains(name)) << name;
  EXPECT_EQ(diagnosis.checks.at("shared")["verdict"], "ok");
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
  EXPECT_EQ(count, 12);
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
  const Environment mpirun("OMPI_COMM_WORLD_SIZE", nullptr), job("SLURM_JOB_ID", "7"), rank("PMIX_RANK", "0");
  {
    const Environment store("PMIX_MCA_gds", nullptr);
    const Json check = diagnose(folder / "", 1).checks.at("launcher");
    EXPECT_EQ(check["verdict"], "warn");
    EXPECT_NE(check["advice"].get<std::string>().find("PMIX_MCA_gds=hash"), std::string::npos);
  }
  const Environment store("PMIX_MCA_gds", "hash");
  EXPECT_EQ(diagnose(folder / "", 1).checks.at("launcher")["verdict"], "ok");
}

TEST(Doctor, SlurmTasksThatDoNotFindEachOtherAreAWarning) {
  const TemporaryFolder folder;
  const Environment mpirun("OMPI_COMM_WORLD_SIZE", nullptr), rank("PMIX_RANK", nullptr),
      job("SLURM_JOB_ID", "7"), tasks("SLURM_NTASKS", "4");
  EXPECT_EQ(diagnose(folder / "", 1).checks.at("launcher")["verdict"], "warn");
}

}  // namespace
}  // namespace tessera
