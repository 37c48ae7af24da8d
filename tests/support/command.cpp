#include "tests/support/command.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "runtime/error.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

int memory_file(const char* name) {
  const int descriptor = ::memfd_create(name, MFD_CLOEXEC);
  TESSERA_CHECK(descriptor >= 0, "command: no memory file: ", std::strerror(errno));
  return descriptor;
}

std::string content_of(int descriptor) {
  std::string text(static_cast<size_t>(::lseek(descriptor, 0, SEEK_END)), '\0');
  const ssize_t length = ::pread(descriptor, text.data(), text.size(), 0);
  TESSERA_CHECK(length == std::ssize(text), "command: its output cannot be read: ", std::strerror(errno));
  return text;
}

void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }

}  // namespace

Command::Command(const std::vector<std::string>& words) : out_(memory_file("out")), err_(memory_file("err")) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  process_ = ::fork();
  TESSERA_CHECK(process_ >= 0, "command: ", words[0], " cannot be started: ", std::strerror(errno));
  if (process_ > 0) return;
  ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
  ::dup2(out_, STDOUT_FILENO);
  ::dup2(err_, STDERR_FILENO);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

Command::~Command() {
  if (!ended()) {
    signal(SIGTERM);  // mpirun ends its ranks
    for (int turn = 0; turn < 4000 && !ended(); ++turn) pause();
    signal(SIGKILL);
    while (!ended()) pause();
  }
  ::close(out_);
  ::close(err_);
}

void Command::signal(int number) const {
  if (!ended_) ::kill(process_, number);
}

bool Command::ended() {
  if (!ended_) ended_ = ::waitpid(process_, &status_, WNOHANG) == process_;
  return ended_;
}

bool Command::wait_until(const std::function<bool()>& condition, std::chrono::minutes limit) {
  const Clock::time_point end = Clock::now() + limit;
  while (!condition()) {
    if (ended()) return condition();
    TESSERA_CHECK(Clock::now() < end, "command: waited ", limit.count(), " min; stderr so far:\n",
                  content_of(err_));
    pause();
  }
  return true;
}

CommandResult Command::wait(std::chrono::minutes limit) {
  wait_until([] { return false; }, limit);
  const int code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  return {code, content_of(out_), content_of(err_)};
}

CommandResult run_command(const std::vector<std::string>& words, std::chrono::minutes limit) {
  return Command(words).wait(limit);
}

std::vector<std::string> under_mpirun(int ranks, const std::vector<std::string>& words) {
  std::vector<std::string> all{"mpirun",
                               "--allow-run-as-root",
                               "--oversubscribe",
                               "--bind-to",
                               "none",
                               "--mca",
                               "mpi_yield_when_idle",
                               "1",
                               "-n",
                               std::to_string(ranks)};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

}  // namespace tessera
