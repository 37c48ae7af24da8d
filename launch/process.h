#pragma once
// From a command line to ranks: under mpirun or srun the ranks of MPI, else threads of this process.

#include <csignal>
#include <functional>
#include <string>

#include "parallel/agree.h"
#include "runtime/json.h"

namespace tessera {

/// What main() returns; `tessera --help` prints this list.
enum ExitCode : int {
  kExitSuccess = 0,
  kExitError = 1,     ///< bad input, a failed read or write: one sentence on stderr
  kExitUsage = 2,     ///< the command line could not be understood, or names a device that this machine lacks
  kExitRequeue = 85,  ///< stopped by a signal after saving a checkpoint: start the same command again
  kExitHang = 86,     ///< the watchdog found no progress and ended the process (launch/watchdog.h)
  kExitAnomaly = 87,  ///< stopped by the guard (launch/guard.h) before a step that would spoil the model
};

/// True when a launcher started this process as one of several ranks.
bool under_mpi();

/// Runs body on every rank and returns the exit code of the process; thread_ranks is ignored under MPI.  An exception
/// becomes one sentence on stderr: rank 0 says an AgreedError for all (parallel/agree.h), any other error is said by its
/// rank and, under MPI, ends the other ranks.
int run_process(int thread_ranks, const std::function<int(Communicator& world)>& body);

/// For what fails before there are ranks: message becomes one sentence on stderr, said once under MPI too, where every
/// rank must come here or start with an agree().  Returns code.
int fail_process(const std::string& message, ExitCode code);

/// Throws AgreedError naming key, ranks and values of the first difference, unless all pass the same flat object.
/// Collective.
void require_same(Communicator& world, const std::string& what, const Json& values);

/// Those that ask a run to save and stop.
inline constexpr int kStopSignals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
/// From now on they do, instead of ending it.  The same one again, a second later or more, ends the process at once.
void catch_stop_signals();
/// The signal that asked any rank to stop, or 0; the same on all ranks.  Collective.
int stop_signal(Communicator& world);

}  // namespace tessera
