#include "launch/process.h"

#define OMPI_SKIP_MPICXX  // the deprecated C++ bindings need a library of their own
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "runtime/log.h"

namespace tessera {
namespace {

std::atomic<int> requested_stop{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes it");

constexpr int64_t kEchoNs = 1'000'000'000;  ///< launchers may pass the same signal on by several ways

std::atomic<int64_t> requested_at_ns{0};
static_assert(std::atomic<int64_t>::is_always_lock_free, "a signal handler writes it");

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // safe in a signal handler
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

/// The first signal is remembered; the same one again ends the process.  Another one changes nothing: a scheduler that warns
/// with SIGUSR1 and terminates later must not cut the save short.
void on_stop_signal(int signal) {
  int none = 0;
  if (requested_stop.compare_exchange_strong(none, signal)) {
    requested_at_ns = monotonic_ns();
  } else if (none == signal && monotonic_ns() - requested_at_ns > kEchoNs) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

int run_mpi(const std::function<int(Communicator&)>& body) {
  int provided = 0, code = kExitSuccess;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  {
    const std::unique_ptr<Communicator> world = mpi_world();
    if (world->size() > 1) set_log_prefix(str("rank ", world->rank(), ": "));
    try {
      code = body(*world);
    } catch (const AgreedError& error) {
      set_log_prefix("");
      if (world->rank() == 0) log_line(str("error: ", error.what()));
      code = kExitError;
    } catch (const std::exception& error) {
      log_line(str("error: ", error.what()));
      MPI_Abort(MPI_COMM_WORLD, kExitError);
    }
  }
  MPI_Finalize();
  return code;
}

}  // namespace

bool under_mpi() {
  // Set by mpirun (Open MPI) and by any launcher that speaks PMIx.
  return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMIX_RANK") != nullptr;
}

int run_process(int thread_ranks, const std::function<int(Communicator& world)>& body) {
  if (under_mpi()) return run_mpi(body);
  std::atomic<int> code{kExitSuccess};
  try {
    run_ranks(thread_ranks, [&](Communicator& world) {
      const int mine = body(world);
      if (world.rank() == 0) code = mine;
    });
  } catch (const std::exception& error) {
    log_line(str("error: ", error.what()));
    return kExitError;
  }
  return code;
}

int fail_process(const std::string& message, ExitCode code) {
  run_process(1, [&](Communicator& world) -> int {
    agree(world, [&] { throw Error(message); });
    return code;
  });
  return code;
}

void require_same(Communicator& world, const std::string& what, const Json& values) {
  const std::vector<std::string> texts = all_gather_strings(world, values.dump());
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    const Json ours = Json::parse(texts[0]), theirs = Json::parse(texts[rank]);
    for (const Json* keys : {&ours, &theirs})
      for (const auto& [key, unused] : keys->items()) {
        const auto has = [&](const Json& side) {
          return side.contains(key) ? side[key].dump() : std::string("nothing");
        };
        if (has(ours) != has(theirs))
          throw AgreedError(str(what, " must be the same on every rank: for ", key, " rank 0 has ", has(ours),
                                ", rank ", rank, " has ", has(theirs)));
      }
  }
}

void catch_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = on_stop_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (int signal : kStopSignals) sigaction(signal, &action, nullptr);
}

int stop_signal(Communicator& world) {
  const double mine[] = {static_cast<double>(requested_stop.load())};
  const std::vector<double> all = all_gather_values(world, mine);
  return static_cast<int>(*std::max_element(all.begin(), all.end()));
}

}  // namespace tessera
