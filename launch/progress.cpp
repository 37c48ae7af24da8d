#include "launch/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "launch/format.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr const char* kEraseLine = "\r\x1b[K";

}  // namespace

std::string progress_line(const std::string& label, int64_t done, int64_t total, const std::string& extra,
                          double seconds_left) {
  std::string line = str(label, "  ", done, "/", total, "  ", 100 * done / total, " %");
  if (!extra.empty()) line += "  " + extra;
  if (seconds_left >= 0 && done < total) line += "  " + format_duration(seconds_left) + " left";
  return line;
}

Progress::Output Progress::standard_error() {
  Output output;
  output.terminal = isatty(STDERR_FILENO) == 1;
  winsize size{};
  if (output.terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    output.columns = size.ws_col;
  return output;
}

Progress::Progress(std::string label, int64_t total, int64_t first, const Output& output)
    : label_(std::move(label)),
      total_(total),
      first_(first),
      output_(output),
      start_(Clock::now()),
      drawn_at_(start_) {
  TESSERA_CHECK(total > 0 && first >= 0 && first <= total, "progress: ", label_,
                ": expected 0 <= first <= total, total > 0, got ", first, " of ", total);
}

Progress::~Progress() {
  if (line_open_) std::fputc('\n', output_.file);
}

void Progress::clear() {
  if (!line_open_) return;
  std::fputs(kEraseLine, output_.file);
  std::fflush(output_.file);
  line_open_ = false;
}

void Progress::update(int64_t done, const std::string& extra) {
  const Clock::time_point now = Clock::now();
  const auto seconds = [](Clock::duration span) { return std::chrono::duration<double>(span).count(); };
  const bool last = done == total_ && drawn_done_ != total_;
  const bool due =
      drawn_done_ < 0 || seconds(now - drawn_at_) >= (output_.terminal ? kRedrawSeconds : output_.seconds);
  if (!last && !due) return;
  drawn_at_ = now;
  drawn_done_ = done;
  const int64_t fresh = done - first_;
  const double left =
      fresh > 0 ? seconds(now - start_) / static_cast<double>(fresh) * static_cast<double>(total_ - done)
                : -1;
  std::string line = progress_line(label_, done, total_, extra, left);
  if (output_.terminal) {
    // A line that wraps cannot be erased; the last column stays free, since some terminals wrap on it.
    if (static_cast<int>(line.size()) >= output_.columns)
      line.resize(static_cast<size_t>(output_.columns - 1));
    line = kEraseLine + line + (last ? "\n" : "");
    line_open_ = !last;
  } else {
    line += '\n';
  }
  std::fwrite(line.data(), 1, line.size(), output_.file);
  std::fflush(output_.file);
}

}  // namespace tessera
