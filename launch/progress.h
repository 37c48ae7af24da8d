#pragma once
// One line that tells a person how far a long piece of work is: redrawn in place on a terminal, else a
// plain line now and then.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace tessera {

/// "train  120/300  40 %  loss 3.21  2 min 5 s left".  seconds_left < 0: not known yet, left out.
std::string progress_line(const std::string& label, int64_t done, int64_t total, const std::string& extra,
                          double seconds_left);

/// Used by one thread.
class Progress {
 public:
  struct Output {
    std::FILE* file = stderr;
    bool terminal = false;  ///< redraw one line
    int columns = 80;       ///< longer lines are cut on a terminal
    double seconds = 5;     ///< between plain lines; a terminal is redrawn ten times a second at most
  };
  /// stderr as it is: a terminal and its width, or a file or pipe.
  static Output standard_error();

  /// total > 0 units of work, first of which are done already (a run that resumes).
  Progress(std::string label, int64_t total, int64_t first = 0, const Output& output = standard_error());
  ~Progress();  ///< ends an open line

  /// Draws when it is time to, and always when done == total.
  void update(int64_t done, const std::string& extra);
  /// Takes the open line off the terminal, so that other output starts on a clean one.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  std::string label_;
  int64_t total_, first_;
  Output output_;
  Clock::time_point start_, drawn_at_;
  int64_t drawn_done_ = -1;
  bool line_open_ = false;
};

}  // namespace tessera
