#include "launch/watchdog.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "launch/post_mortem.h"
#include "launch/process.h"
#include "runtime/log.h"

namespace tessera {
namespace {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

constexpr nanoseconds kBeat = std::chrono::milliseconds(100);

/// False when another rank was first.
bool claim_report(const std::string& folder, const std::string& text) {
  const int file = ::open(hang_report_path(folder).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) return errno != EEXIST;  // a report that cannot be kept is still said
  [[maybe_unused]] const ssize_t written = ::write(file, text.data(), text.size());
  ::close(file);
  return true;
}

}  // namespace

Watchdog::Watchdog(FlightRecorder& recorder, std::string folder, nanoseconds timeout)
    : recorder_(recorder), folder_(std::move(folder)), log_prefix_(log_prefix()), timeout_(timeout) {
  recorder_.set_watchdog(timeout.count());
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    std::lock_guard hold(lock_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::watch() {
  set_log_prefix(log_prefix_);
  uint64_t seen = recorder_.written();
  nanoseconds silent{0}, since_flush{0};
  Clock::time_point before = Clock::now();
  std::unique_lock hold(lock_);
  while (!changed_.wait_for(hold, kBeat, [this] { return stopping_; })) {
    recorder_.heartbeat();
    const Clock::time_point now = Clock::now();
    const nanoseconds passed = std::min<nanoseconds>(now - before, 2 * kBeat);
    before = now;
    silent = recorder_.written() == seen ? silent + passed : nanoseconds(0);
    seen = recorder_.written();
    if (timeout_ == nanoseconds(0)) continue;
    since_flush += passed;
    if (since_flush >= timeout_ / 4) {
      recorder_.flush();
      since_flush = nanoseconds(0);
    }
    if (silent >= timeout_ && others_are_quiet()) bite();
  }
}

bool Watchdog::others_are_quiet() const {
  int64_t latest_ns = 0, now_ns = 0;
  try {
    std::vector<std::string> unread;
    for (const FlightRing& ring : read_flight_rings(folder_, unread, FlightPart::header)) {
      now_ns = std::max(now_ns, ring.alive_ns);
      if (ring.end == FlightEnd::none) latest_ns = std::max(latest_ns, ring.last_ns);
    }
  } catch (const Error&) {
    return true;  // the report will say why nothing is known of them
  }
  return now_ns - latest_ns >= timeout_.count();
}

void Watchdog::bite() {
  std::string report;
  try {
    std::vector<std::string> problems;
    report = examine(read_flight_rings(folder_, problems)).sentence;
  } catch (const std::exception& error) {
    report = error.what();
  }
  report = str(std::chrono::duration<double>(timeout_).count(), " s without progress: ", report);
  recorder_.end(FlightEnd::hang, report);
  recorder_.flush();
  if (claim_report(folder_, "hang: " + report + "\n")) log_line("hang: " + report);
  // The exit of one rank takes the others down at once, and with them what they have to say.
  std::this_thread::sleep_for(5 * kBeat);
  ::_exit(kExitHang);
}

}  // namespace tessera
