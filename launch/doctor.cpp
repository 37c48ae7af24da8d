#include "launch/doctor.h"

#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

#include "launch/doctor_checks.h"
#include "launch/format.h"
#include "launch/machine_memory.h"
#include "launch/proc_value.h"
#include "launch/process.h"
#include "runtime/cuda_engine.h"
#include "runtime/isa.h"
#include "runtime/json.h"

namespace tessera {
namespace {

constexpr const char* kVerdicts[] = {"ok", "warn", "fail"};
constexpr double kGiB = 1024.0 * 1024 * 1024;

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

Check check_processor(const AllFacts& ranks) {
  std::set<std::string> levels;
  for (const RankFacts& rank : ranks) levels.insert(rank.isa);
  Check check{"processor", Verdict::ok, proc_value("/proc/cpuinfo", "model name") + ", level"};
  for (const std::string& level : levels) check.found += " " + level;
  if (levels.size() > 1) {
    check.verdict = Verdict::warn;
    check.advice = "ranks have different levels: all run at the least one";
  } else if (!levels.contains("amx")) {
    check.found += " (no AMX)";
  }
  return check;
}

/// Ranges such as "0-1,4" as a count.
int64_t count_ranges(const std::string& text) {
  int64_t count = 0;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const size_t dash = part.find('-');
    const int64_t first = std::atoll(part.c_str());
    count += dash == std::string::npos ? 1 : std::atoll(part.c_str() + dash + 1) - first + 1;
  }
  return count;
}

Check check_cores(const RankFacts& own, int ranks) {
  const int64_t nodes = std::max<int64_t>(1, count_ranges(first_line("/sys/devices/system/node/online")));
  Check check{"cores", Verdict::ok,
              str(own.place.cores.size(), " usable, ", nodes, nodes == 1 ? " NUMA node" : " NUMA nodes")};
  if (nodes > ranks) {
    check.verdict = Verdict::warn;
    check.advice =
        str("start at least one rank per NUMA node: mpirun -n ", nodes, " --map-by numa --bind-to numa");
  }
  return check;
}

Check check_memory() {
  constexpr double kLittle = 2 * kGiB, kTooLittle = 0.5 * kGiB;
  const MachineMemory memory = machine_memory();
  const double available = memory.room();
  std::string found = format_bytes(memory.available) + " available";
  if (memory.container_left)
    found += ", " + format_bytes(*memory.container_left) + " left of the limit of this container";
  if (available >= kLittle) return {"memory", Verdict::ok, found};
  return {"memory", available < kTooLittle ? Verdict::fail : Verdict::warn, found,
          "close other programs or choose a smaller model"};
}

Check check_huge_pages() {
  const std::string modes = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t begin = modes.find('['), end = modes.find(']');
  if (begin == std::string::npos || end == std::string::npos)
    return {"huge pages", Verdict::warn, "not known to this system",
            "nothing to do: large tensors are a little slower"};
  const std::string mode = modes.substr(begin + 1, end - begin - 1);
  if (mode != "never") return {"huge pages", Verdict::ok, mode};
  return {"huge pages", Verdict::warn, mode,
          "as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"};
}

Check check_hdf5() {
  unsigned major = 0, minor = 0, release = 0;
  hbool_t thread_safe = false;
  H5get_libversion(&major, &minor, &release);
  H5is_library_threadsafe(&thread_safe);
  const std::string found =
      str("HDF5 ", major, ".", minor, ".", release, thread_safe ? ", thread-safe" : ", not thread-safe");
  if (thread_safe) return {"hdf5", Verdict::ok, found};
  return {"hdf5", Verdict::fail, found,
          "use a thread-safe HDF5 (Debian's libhdf5-dev is one): the loader reads on a thread of its own"};
}

Check check_compiler() {
  const std::string nvcc = cuda_devices().toolkit;
  return {"compiler", Verdict::ok,
          str("g++ ", __VERSION__, nvcc.empty() ? ", without nvcc: processors only" : ", nvcc " + nvcc)};
}

/// Signals that ask a run to stop and do not reach this process.
std::string blocked_signals() {
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  std::string names;
  for (int signal : kStopSignals)
    if (sigismember(&blocked, signal) == 1) names += str(names.empty() ? "" : ", ", sigabbrev_np(signal));
  return names;
}

RankFacts own_facts(const FolderTrial& folder, Communicator& communicator) {
  RankFacts facts{.place = own_place(),
                  .isa = name_of(detect_isa()),
                  .online_cores = sysconf(_SC_NPROCESSORS_ONLN),
                  .gpus = cuda_devices().count,
                  .blocked_signals = blocked_signals(),
                  .folder = folder.unseen(),
                  .mapping = folder.mapping_problem()};
  communicator.barrier();
  facts.clock = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return facts;
}

void print(const std::vector<Check>& checks, DoctorFormat format, std::ostream& out) {
  if (format == DoctorFormat::json) {
    Json list = Json::array();
    for (const Check& check : checks)
      list.push_back({{"check", check.name},
                      {"verdict", kVerdicts[static_cast<size_t>(check.verdict)]},
                      {"found", check.found},
                      {"advice", check.advice}});
    out << list.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return;
  }
  for (const Check& check : checks) {
    out << kVerdicts[static_cast<size_t>(check.verdict)] << (check.verdict == Verdict::ok ? "    " : "  ")
        << check.name << std::string(12 - check.name.size(), ' ') << check.found;
    if (!check.advice.empty()) out << ": " << check.advice;
    out << '\n';
  }
}

}  // namespace

int run_doctor(const std::string& directory, Communicator& communicator, std::ostream& out,
               DoctorFormat format) {
  const FolderTrial folder(directory, communicator);
  RankFacts own = own_facts(folder, communicator);
  AllFacts ranks;
  for (const std::string& text : all_gather_strings(communicator, to_json(own).dump()))
    from_json(Json::parse(text), "rank", ranks.emplace_back());

  double code = kExitSuccess;
  if (communicator.rank() == 0) {
    std::vector<Check> checks{check_mpi(),
                              check_launcher(communicator.size()),
                              check_pmix(),
                              check_ranks(ranks),
                              check_binding(ranks),
                              check_signals(ranks),
                              check_processor(ranks),
                              check_cores(own, communicator.size()),
                              check_memory(),
                              check_huge_pages(),
                              check_hdf5(),
                              check_compiler(),
                              check_gpus(ranks),
                              check_clock(ranks)};
    for (const Check& check : folder.checks(ranks)) checks.push_back(check);
    print(checks, format, out);
    if (std::ranges::find(checks, Verdict::fail, &Check::verdict) != checks.end()) code = kExitError;
  }
  return static_cast<int>(all_gather_values(communicator, std::span<const double>(&code, 1))[0]);
}

}  // namespace tessera
