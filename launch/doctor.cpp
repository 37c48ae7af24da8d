#include "launch/doctor.h"

#include <hdf5.h>
#include <sched.h>
#include <unistd.h>
#define OMPI_SKIP_MPICXX  // the deprecated C++ bindings need a library of their own
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

#include "launch/format.h"
#include "launch/process.h"
#include "runtime/cuda_engine.h"
#include "runtime/isa.h"
#include "runtime/json.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

enum class Verdict { ok, warn, fail };
constexpr const char* kVerdicts[] = {"ok", "warn", "fail"};

struct Check {
  std::string name;
  Verdict verdict = Verdict::ok;
  std::string found;
  std::string advice{};  ///< what to do; empty when nothing
};

constexpr double kGiB = 1024.0 * 1024 * 1024;

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

/// What follows the colon of the first line of a /proc file that starts with key.
std::string proc_value(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) {
      const size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
      return begin == std::string::npos ? "" : line.substr(begin);
    }
  return "";
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// What one rank knows and the others do not.
struct RankFacts {
  std::string host, isa;
  std::vector<int> cores{};
  bool sees_folder = false;

  auto fields() {
    return std::tuple{Field{"host", host}, Field{"isa", isa}, Field{"cores", cores},
                      Field{"sees_folder", sees_folder}};
  }
};

RankFacts own_facts(const std::string& probe) {
  RankFacts facts;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  facts.host = host.data();
  facts.isa = name_of(detect_isa());
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) facts.cores.push_back(core);
  facts.sees_folder = fs::exists(probe);
  return facts;
}

Check check_mpi() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0, started = 0, level = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string version(text.data(), static_cast<size_t>(length));
  Check check{"mpi", Verdict::ok, version.substr(0, version.find(','))};
  MPI_Initialized(&started);
  if (!started) return check;
  MPI_Query_thread(&level);
  check.found += level >= MPI_THREAD_MULTIPLE   ? ", threads: multiple"
                 : level >= MPI_THREAD_FUNNELED ? ", threads: main"
                                                : ", threads: none";
  if (level < MPI_THREAD_FUNNELED) {
    check.verdict = Verdict::fail;
    check.advice = "use an MPI library that allows threads (MPI_THREAD_FUNNELED)";
  }
  return check;
}

Check check_launcher(int ranks) {
  const bool slurm = !environment("SLURM_JOB_ID").empty(),
             mpirun = !environment("OMPI_COMM_WORLD_SIZE").empty();
  const std::string tasks = environment("SLURM_NTASKS");
  if (mpirun) return {"launcher", Verdict::ok, str("mpirun, ", ranks, ranks == 1 ? " rank" : " ranks")};
  if (under_mpi()) {
    Check check{"launcher", Verdict::ok,
                str(slurm ? "srun" : "PMIx", ", ", ranks, ranks == 1 ? " rank" : " ranks")};
    if (environment("PMIX_MCA_gds") != "hash") {
      check.verdict = Verdict::warn;
      check.advice =
          "export PMIX_MCA_gds=hash: the shared-memory store of PMIx does not start where srun and Open MPI "
          "bring different versions of it";
    }
    return check;
  }
  if (slurm && !tasks.empty() && tasks != "1")
    return {"launcher", Verdict::warn, "Slurm gives " + tasks + " tasks, but this process is alone",
            "start with srun --mpi=pmix, or mpirun"};
  return {"launcher", Verdict::ok, "none: one process, ranks are threads"};
}

/// Every machine must have a core for each of its ranks.
Check check_ranks(const std::vector<RankFacts>& ranks) {
  std::map<std::string, std::pair<int64_t, std::set<int>>> machines;
  for (const RankFacts& rank : ranks) {
    auto& [count, cores] = machines[rank.host];
    ++count;
    cores.insert(rank.cores.begin(), rank.cores.end());
  }
  Check check{"ranks", Verdict::ok, ""};
  for (const auto& [host, machine] : machines) {
    const auto& [count, cores] = machine;
    check.found += str(check.found.empty() ? "" : "; ", count, count == 1 ? " rank on " : " ranks on ",
                       cores.size(), cores.size() == 1 ? " core of " : " cores of ", host);
    if (count <= std::ssize(cores)) continue;
    check.verdict = Verdict::warn;
    check.advice =
        "start fewer ranks or bind them to more cores (mpirun --bind-to none): ranks that share a core wait "
        "for each other";
  }
  return check;
}

Check check_processor(const std::vector<RankFacts>& ranks) {
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
              str(own.cores.size(), " usable, ", nodes, nodes == 1 ? " NUMA node" : " NUMA nodes")};
  if (nodes > ranks) {
    check.verdict = Verdict::warn;
    check.advice =
        str("start at least one rank per NUMA node: mpirun -n ", nodes, " --map-by numa --bind-to numa");
  }
  return check;
}

Check check_memory() {
  constexpr double kLittle = 2 * kGiB, kTooLittle = 0.5 * kGiB;
  double available = 1024 * std::atof(proc_value("/proc/meminfo", "MemAvailable").c_str());
  std::string found = format_bytes(available) + " available";
  // A container may have less than its machine; "max" is no limit and reads as 0.
  const double limit = std::atof(first_line("/sys/fs/cgroup/memory.max").c_str());
  if (limit > 0) {
    const double left = limit - std::atof(first_line("/sys/fs/cgroup/memory.current").c_str());
    found += ", " + format_bytes(left) + " left of the limit of this container";
    available = std::min(available, left);
  }
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

/// Loads NCCL only where there is a GPU for it.
Check check_gpus() {
  const CudaDevices devices = cuda_devices();
  if (devices.toolkit.empty()) return {"gpus", Verdict::ok, "not looked for: this build has no CUDA"};
  if (devices.count == 0)
    return {
        "gpus", Verdict::warn, devices.problem,
        "nothing to do for device=cpu; for device=cuda install NVIDIA's driver for CUDA " + devices.toolkit};
  std::string found = str("driver for CUDA ", devices.driver, ", NCCL ", nccl_version(), "; ", devices.count,
                          devices.count == 1 ? " device" : " devices");
  for (const std::string& name : devices.names) found += "; " + name;
  return {"gpus", Verdict::ok, found};
}

std::string probe_path(const std::string& directory) {
  return (fs::path(directory) / ".tessera_doctor").string();
}

/// Leaves the probe for other ranks to look for.
Check check_folder(const std::string& directory) {
  constexpr double kLittle = 5 * kGiB;
  const std::string where = directory + ": ";
  try {
    fs::create_directories(directory);
    replace_file(probe_path(directory), std::string(1 << 20, 'x'));
    const auto available = static_cast<double>(fs::space(directory).available);
    const std::string found = where + "writable, files can be renamed, " + format_bytes(available) + " free";
    if (available >= kLittle) return {"folder", Verdict::ok, found};
    return {"folder", Verdict::warn, found, "make room: a checkpoint is 12 bytes per parameter"};
  } catch (const std::exception& error) {
    return {"folder", Verdict::fail, error.what(),
            "choose a folder that you may write to, on a disk with room"};
  }
}

Check check_shared(const std::vector<RankFacts>& ranks) {
  std::string blind;
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    if (!ranks[rank].sees_folder) blind += str(blind.empty() ? "" : ", ", rank, " (", ranks[rank].host, ")");
  if (blind.empty()) return {"shared", Verdict::ok, "every rank sees what rank 0 writes there"};
  return {"shared", Verdict::fail, "not seen by rank " + blind,
          "choose a folder on a file system that all machines share"};
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
  const bool leads = communicator.rank() == 0;
  Check folder;
  if (leads) folder = check_folder(directory);
  communicator.barrier();  // the probe is there
  RankFacts own = own_facts(probe_path(directory));
  std::vector<RankFacts> ranks;
  for (const std::string& text : all_gather_strings(communicator, to_json(own).dump()))
    from_json(Json::parse(text), "rank", ranks.emplace_back());

  double code = kExitSuccess;
  if (leads) {
    std::vector<Check> checks{check_mpi(),
                              check_launcher(communicator.size()),
                              check_ranks(ranks),
                              check_processor(ranks),
                              check_cores(own, communicator.size()),
                              check_memory(),
                              check_huge_pages(),
                              check_hdf5(),
                              check_compiler(),
                              check_gpus(),
                              folder};
    if (folder.verdict != Verdict::fail) checks.push_back(check_shared(ranks));
    std::error_code ignored;  // a probe that cannot be removed harms nobody
    fs::remove(probe_path(directory), ignored);
    print(checks, format, out);
    if (std::any_of(checks.begin(), checks.end(),
                    [](const Check& check) { return check.verdict == Verdict::fail; }))
      code = kExitError;
  }
  return static_cast<int>(all_gather_values(communicator, std::span<const double>(&code, 1))[0]);
}

}  // namespace tessera
