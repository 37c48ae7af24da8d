#include "launch/supervise.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>

#include "launch/format.h"
#include "launch/process.h"
#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLongestBackoff = 60;

sigset_t signals_of(std::initializer_list<int> numbers) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : numbers) sigaddset(&set, number);
  return set;
}

/// Signals are taken one at a time instead of interrupting, as long as it lives.
class BlockedSignals {
 public:
  BlockedSignals() { sigprocmask(SIG_BLOCK, &set_, &before_); }
  ~BlockedSignals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

  const sigset_t& before() const { return before_; }
  /// The next one; signal 0 after the time limit.
  siginfo_t next(double seconds) const {
    const timespec limit{static_cast<time_t>(seconds), static_cast<long>(std::fmod(seconds, 1) * 1e9)};
    siginfo_t taken{};
    while (sigtimedwait(&set_, &taken, &limit) < 0)
      if (errno == EAGAIN) return {};
    return taken;
  }

 private:
  const sigset_t set_ = signals_of({SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGCHLD});
  sigset_t before_{};
};

pid_t start(const std::vector<std::string>& command, const sigset_t& mask) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &mask);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t process = -1;
  const int failure = ::posix_spawnp(&process, arguments[0], nullptr, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  TESSERA_CHECK(failure == 0, "supervise: ", command[0], " cannot be started: ", std::strerror(failure));
  return process;
}

/// The end of one start.
struct End {
  int code = 0;
  bool told_to_stop = false;  ///< a signal was passed on
};

End wait_for(pid_t process, const BlockedSignals& signals) {
  End end;
  for (;;) {
    const siginfo_t taken = signals.next(3600);
    int status = 0;
    if (taken.si_signo == SIGCHLD || taken.si_signo == 0) {
      if (::waitpid(process, &status, WNOHANG) != process) continue;
      end.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return end;
    }
    end.told_to_stop = true;
    // What a terminal sends goes to the command as well as to this process.
    if (taken.si_code != SI_KERNEL) ::kill(process, taken.si_signo);
  }
}

bool told_to_stop_within(double seconds, const BlockedSignals& signals) {
  const Clock::time_point began = Clock::now();
  for (double left = seconds; left > 0;
       left = seconds - std::chrono::duration<double>(Clock::now() - began).count()) {
    const int taken = signals.next(left).si_signo;
    if (taken != 0 && taken != SIGCHLD) return true;
  }
  return false;
}

bool is_final(int code) {
  return code == kExitSuccess || code == kExitError || code == kExitUsage || code == kExitAnomaly;
}

}  // namespace

int supervise(const SuperviseOptions& options) {
  const BlockedSignals signals;
  int64_t crashes = 0;
  for (;;) {
    const Clock::time_point began = Clock::now();
    const End end = wait_for(start(options.command, signals.before()), signals);
    if (end.told_to_stop || is_final(end.code)) return end.code;
    if (end.code == kExitRequeue ||
        std::chrono::duration<double>(Clock::now() - began).count() > options.steady)
      crashes = 0;
    double pause = 0;
    if (end.code != kExitRequeue) {
      pause = std::min(options.backoff * std::pow(2.0, static_cast<double>(crashes)), kLongestBackoff);
      if (++crashes > options.restarts) {
        log_line(str("error: supervise: the command ended with exit code ", end.code, ", ", crashes,
                     " times in a row: given up"));
        return end.code;
      }
    }
    log_line(str("supervise: the command ended with exit code ", end.code, ", started again in ",
                 format_fixed(pause, 1), " s (crash ", crashes, " of ", options.restarts, " in a row)"));
    if (told_to_stop_within(pause, signals)) return end.code;
  }
}

}  // namespace tessera
