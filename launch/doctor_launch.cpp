// What the doctor says of how ranks were started and where they are.

#define OMPI_SKIP_MPICXX  // the deprecated C++ bindings need a library of their own
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "launch/doctor_checks.h"
#include "launch/format.h"
#include "launch/process.h"
#include "runtime/cuda_engine.h"
#include "runtime/error.h"

namespace tessera {
namespace {

int64_t number_in(const char* variable) { return std::atoll(environment(variable).c_str()); }

/// Ranks of each machine, machines in the order of their first rank.
std::vector<std::pair<std::string, std::vector<size_t>>> by_host(const AllFacts& ranks) {
  std::vector<std::pair<std::string, std::vector<size_t>>> hosts;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const std::string& name = ranks[rank].place.host;
    const auto known = std::ranges::find_if(hosts, [&](const auto& host) { return host.first == name; });
    if (known == hosts.end())
      hosts.push_back({name, {rank}});
    else
      known->second.push_back(rank);
  }
  return hosts;
}

/// What is said of each machine, once for all of which the same is said: "on h1, h2: TEXT; on h3: OTHER".
std::string by_text(const std::vector<std::pair<std::string, std::string>>& host_texts) {
  std::vector<std::pair<std::string, std::string>> groups;  // text, hosts
  for (const auto& [host, text] : host_texts) {
    const auto known = std::ranges::find_if(groups, [&](const auto& group) { return group.first == text; });
    if (known == groups.end())
      groups.emplace_back(text, host);
    else
      known->second += ", " + host;
  }
  std::string all;
  for (const auto& [text, hosts] : groups) all += str(all.empty() ? "" : "; ", "on ", hosts, ": ", text);
  return all;
}

struct Binding {
  std::string text;
  std::string advice{};
};

/// How the ranks of one machine share its cores.
Binding binding_of(const AllFacts& ranks, const std::vector<size_t>& here) {
  std::map<int, int64_t> users;
  std::set<size_t> sizes;
  for (size_t rank : here) {
    for (int core : ranks[rank].place.cores) ++users[core];
    sizes.insert(ranks[rank].place.cores.size());
  }
  const int64_t count = std::ssize(here), online = ranks[here[0]].online_cores,
                least = static_cast<int64_t>(*sizes.begin());
  const std::string free = "srun --cpus-per-task=N or mpirun --bind-to none lets a rank use more";
  if (std::ranges::all_of(users, [&](const auto& user) { return user.second == count; }) && count > 1)
    return {str("all ranks may use the same ", counted(std::ssize(users), "core"), " of ", online),
            std::ssize(users) < count ? "several ranks compute on one core: " + free : ""};
  if (std::ranges::any_of(users, [](const auto& user) { return user.second > 1; }))
    return {"some cores belong to several ranks, and some to one",
            "give all ranks the same cores or each its own: srun --cpu-bind=cores or mpirun --bind-to none"};
  const std::string own = str("each rank has ", counted(least, "core"), sizes.size() > 1 ? " or more" : "",
                              " of its own, of ", online);
  const bool narrow = least == 1 && online >= 2 * count;
  return {own, narrow ? "the threads of a rank share one core while others are idle: " + free : ""};
}

}  // namespace

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string counted(int64_t count, const std::string& thing) {
  return str(count, " ", thing, count == 1 ? "" : "s");
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
  check.found += level >= MPI_THREAD_MULTIPLE     ? ", threads: multiple"
                 : level >= MPI_THREAD_SERIALIZED ? ", threads: one at a time"
                 : level >= MPI_THREAD_FUNNELED   ? ", threads: main"
                                                  : ", threads: none";
  if (level < MPI_THREAD_SERIALIZED) {
    check.verdict = level < MPI_THREAD_FUNNELED ? Verdict::fail : Verdict::warn;
    check.advice = level < MPI_THREAD_FUNNELED
                       ? "use an MPI library that allows threads (MPI_THREAD_SERIALIZED)"
                       : "comm.progress=thread needs MPI_THREAD_SERIALIZED: set comm.progress=none, which "
                         "hides less communication, or use an MPI library that allows it";
  }
  return check;
}

Check check_launcher(int ranks) {
  const bool slurm = !environment("SLURM_JOB_ID").empty(),
             mpirun = !environment("OMPI_COMM_WORLD_SIZE").empty();
  const int64_t tasks = number_in("SLURM_NTASKS"), step_tasks = number_in("SLURM_STEP_NUM_TASKS");
  if (!under_mpi()) {
    if (slurm && std::max(tasks, step_tasks) > 1)
      return {"launcher", Verdict::warn,
              str("Slurm gives ", std::max(tasks, step_tasks), " tasks, but this process is alone"),
              "start with srun --mpi=pmix, or mpirun"};
    if (number_in("PMI_SIZE") > 1)
      return {"launcher", Verdict::warn,
              str("something started ", number_in("PMI_SIZE"), " processes, but this one is alone"),
              "use the mpirun of the MPI library named above, or srun --mpi=pmix"};
    return {"launcher", Verdict::ok, "none: one process, ranks are threads"};
  }
  Check check{"launcher", Verdict::ok,
              str(mpirun  ? "mpirun"
                  : slurm ? "srun"
                          : "PMIx",
                  ", ", counted(ranks, "rank"))};
  const int64_t started = mpirun ? number_in("OMPI_COMM_WORLD_SIZE") : slurm ? step_tasks : 0;
  if (started > 0 && started != ranks) {
    check.verdict = Verdict::fail;
    check.found += str(", but it started ", started);
    check.advice =
        "the ranks do not find each other: use an mpirun or srun that fits the MPI library named above";
  } else if (mpirun && slurm && tasks > 0 && tasks != ranks) {
    check.verdict = Verdict::warn;
    check.found += str(" of the ", tasks, " that Slurm has room for");
    check.advice = "leave out mpirun's -n, or ask Slurm for as many";
  }
  return check;
}

Check check_pmix() {
  const std::string version = environment("PMIX_VERSION"), store = environment("PMIX_MCA_gds");
  if (version.empty() && environment("PMIX_RANK").empty())
    return {"pmix", Verdict::ok, "not used: no launcher"};
  Check check{"pmix", Verdict::ok,
              str("PMIx ", version.empty() ? "of unknown version" : version, ", store ",
                  store.empty() ? "as it chooses" : store)};
  const bool srun = environment("OMPI_COMM_WORLD_SIZE").empty();
  if (srun && store != "hash") {
    check.verdict = Verdict::warn;
    check.advice =
        "export PMIX_MCA_gds=hash: with its shared-memory store about one start in a hundred crashes in "
        "MPI_Init under srun";
  }
  return check;
}

Check check_ranks(const AllFacts& ranks) {
  Check check{"ranks", Verdict::ok, ""};
  std::set<size_t> counts;
  for (const auto& [host, here] : by_host(ranks)) {
    std::set<int> cores;
    for (size_t rank : here) cores.insert(ranks[rank].place.cores.begin(), ranks[rank].place.cores.end());
    check.found += str(check.found.empty() ? "" : "; ", counted(std::ssize(here), "rank"), " on ",
                       counted(std::ssize(cores), "core"), " of ", host);
    counts.insert(here.size());
    if (here.size() <= cores.size()) continue;
    check.verdict = Verdict::warn;
    check.advice =
        "start fewer ranks or bind them to more cores (mpirun --bind-to none): ranks that share a core wait "
        "for each other";
  }
  if (check.verdict == Verdict::ok && counts.size() > 1) {
    check.verdict = Verdict::warn;
    check.advice = "start as many ranks on every machine: all wait for the fullest one";
  }
  return check;
}

Check check_binding(const AllFacts& ranks) {
  Check check{"binding", Verdict::ok, ""};
  std::vector<std::pair<std::string, std::string>> texts;
  for (const auto& [host, here] : by_host(ranks)) {
    const Binding binding = binding_of(ranks, here);
    texts.emplace_back(host, binding.text);
    if (binding.advice.empty()) continue;
    check.verdict = Verdict::warn;
    check.advice = binding.advice;
  }
  check.found = by_text(texts);
  return check;
}

Check check_signals(const AllFacts& ranks) {
  Check check{"signals", Verdict::ok, ""};
  for (int signal : kStopSignals) check.found += str(check.found.empty() ? "" : ", ", sigabbrev_np(signal));
  check.found += " ask a run to save and stop";
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    if (ranks[rank].blocked_signals.empty()) continue;
    check.verdict = Verdict::warn;
    check.found += str(", but rank ", rank, " does not get ", ranks[rank].blocked_signals);
    check.advice = "what started the ranks blocks signals: start them without it, or they end without saving";
    break;
  }
  return check;
}

/// Loads NCCL only where there is a GPU for it.
Check check_gpus(const AllFacts& ranks) {
  const CudaDevices devices = cuda_devices();
  if (devices.toolkit.empty()) {
    const int64_t given = number_in("SLURM_GPUS_ON_NODE");
    if (given == 0) return {"gpus", Verdict::ok, "not looked for: this build has no CUDA"};
    return {"gpus", Verdict::warn,
            str("Slurm gives this job ", counted(given, "GPU"), " per machine, but this build has no CUDA"),
            "build with nvcc in the path, or ask for no GPUs"};
  }
  if (devices.count == 0)
    return {
        "gpus", Verdict::warn, devices.problem,
        "nothing to do for device=cpu; for device=cuda install NVIDIA's driver for CUDA " + devices.toolkit};
  Check check{"gpus", Verdict::ok,
              str("driver for CUDA ", devices.driver, ", NCCL ", nccl_version(), "; ",
                  counted(devices.count, "device"))};
  for (const std::string& name : devices.names) check.found += "; " + name;
  std::vector<RankPlace> places;
  for (const RankFacts& rank : ranks) places.push_back(rank.place);
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const Placement place = placement_of(static_cast<int>(rank), places);
    if (place.gpu < ranks[rank].gpus) continue;
    check.verdict = Verdict::warn;
    check.found += str("; rank ", rank, " on ", ranks[rank].place.host, " has none of the ", ranks[rank].gpus,
                       " for itself");
    check.advice = "start no more ranks on a machine than it has GPUs (device=cuda takes one per rank)";
    break;
  }
  return check;
}

Check check_clock(const AllFacts& ranks) {
  constexpr double kFar = 1;  // seconds; ranks leave a barrier within milliseconds of each other
  const auto [first, last] = std::ranges::minmax_element(ranks, {}, &RankFacts::clock);
  const double apart = last->clock - first->clock;
  if (by_host(ranks).size() == 1) return {"clock", Verdict::ok, "one machine"};
  if (apart < kFar)
    return {"clock", Verdict::ok, str("machines agree within ", format_fixed(apart, 3), " s")};
  return {"clock", Verdict::warn,
          str("the clock of ", last->place.host, " is ", format_duration(apart), " ahead of that of ",
              first->place.host),
          "set the machines' clocks by NTP: times of files and logs mislead"};
}

}  // namespace tessera
