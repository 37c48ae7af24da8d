#pragma once
// Turns a hang into a report and an end.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/flight_recorder.h"

namespace tessera {

/// A thread that beats the recorder's heart.  When neither its rank nor any other one has made a record for the time-out, it
/// says on stderr what the post-mortem finds (the first rank to notice speaks for all, and leaves the same in
/// FOLDER/report.txt) and ends the process with kExitHang, so that a launcher ends the job.  Time in which the process does
/// not run, as while a whole job is suspended, does not count.
class Watchdog {
 public:
  /// recorder lies in folder, and outlives this.  timeout 0: heartbeats only.
  Watchdog(FlightRecorder& recorder, std::string folder, std::chrono::nanoseconds timeout);
  ~Watchdog();  ///< stops and joins the thread
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void watch();
  bool others_are_quiet() const;
  [[noreturn]] void bite();

  FlightRecorder& recorder_;
  const std::string folder_, log_prefix_;
  const std::chrono::nanoseconds timeout_;
  std::mutex lock_;
  std::condition_variable changed_;
  bool stopping_ = false;  ///< guarded by lock_
  std::thread thread_;
};

/// Where the first rank's watchdog leaves its report.
inline std::string hang_report_path(const std::string& folder) { return folder + "/report.txt"; }

}  // namespace tessera
