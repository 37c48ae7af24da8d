#pragma once
// Other programs, run as a user runs them.

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace tessera {

struct CommandResult {
  int code = 0;  ///< of exit; 128 + signal when one ended it, as a shell says
  std::string out, err;
};

class Command {
 public:
  static constexpr std::chrono::minutes kUsualLimit{5};  ///< sanitizers on a busy machine are slow

  /// Starts words[0], found along PATH, with its output going to files.  Throws Error when it cannot be started.
  explicit Command(const std::vector<std::string>& words);
  ~Command();  ///< ends it when nobody waited
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  void signal(int number) const;
  /// Until condition holds, asked every few milliseconds; false when the command has ended before.  Throws Error after the
  /// limit.
  bool wait_until(const std::function<bool()>& condition, std::chrono::minutes limit = kUsualLimit);
  /// Its end.  Throws Error after the limit.
  CommandResult wait(std::chrono::minutes limit = kUsualLimit);

 private:
  bool ended();

  pid_t process_ = -1;
  int out_ = -1, err_ = -1, status_ = 0;
  bool ended_ = false;
};

CommandResult run_command(const std::vector<std::string>& words,
                          std::chrono::minutes limit = Command::kUsualLimit);

/// words under mpirun with options that suit a machine with few cores.
std::vector<std::string> under_mpirun(int ranks, const std::vector<std::string>& words);

}  // namespace tessera
