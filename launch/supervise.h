#pragma once
// A command that is started again when it crashes: for runs outside a scheduler that requeues.

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

struct SuperviseOptions {
  std::vector<std::string> command;  ///< found along PATH, e.g. mpirun -n 4 tessera train ...
  int64_t restarts = 10;             ///< crashes in a row that are forgiven
  double backoff =
      1;  ///< seconds before the first restart; doubles with every crash in a row, up to a minute
  double steady = 600;  ///< seconds after which a crash is the first in a row again
};

/// Runs the command until it ends in a way that would come again: success, bad input, a wrong command line, or a step that the
/// guard stopped (launch/process.h has these codes).  After any other end (a signal, a crash, kExitRequeue) it is started
/// again and goes on from its last checkpoint.  SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 are passed on, and end the restarts.
/// Returns the exit code of the last start: 128 + signal where a signal ended it.  Throws Error when the command cannot be
/// started.
int supervise(const SuperviseOptions& options);

}  // namespace tessera
