#pragma once
// The flight recorder and the watchdog of a training.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "launch/watchdog.h"
#include "parallel/communicator.h"
#include "runtime/fields.h"

namespace tessera {

struct FlightConfig {
  int64_t records = 4096;
  double watchdog_seconds = 600;

  auto fields() {
    return std::tuple{
        Field{"records", records,
              "latest operations of each rank kept in OUT/flight for `tessera post-mortem`, 160 bytes each; "
              "0 = no files and no watchdog",
              0, 1 << 22},
        Field{"watchdog_seconds", watchdog_seconds,
              "without any progress until a hang is reported and the run ends with exit code 86; 0 = never",
              0, 1e6}};
  }
};

class Flight {
 public:
  /// Collective.  Records in memory until persist().
  Flight(const FlightConfig& config, Communicator& world);

  FlightRecorder& recorder() { return recorder_; }
  /// The ranks of world, recorded.
  Communicator& world() { return *world_; }

  /// ranks itself when that is world, which is recorded already; else ranks, recorded.
  Communicator& record(Communicator& ranks, Communicator& world);

  /// Collective.  Puts the rings into RUN/flight in place of those of earlier starts, and starts the watchdog.  Throws
  /// AgreedError when a file cannot be written.
  void persist(const std::string& run);

  /// Runs body and records how it ended.  When it ended by an error that ranks which differ explain, stderr says so.
  int guard(const std::function<int()>& body);

 private:
  void explain() const;

  FlightConfig config_;
  FlightRecorder recorder_;
  std::unique_ptr<Communicator> world_, devices_;
  std::string folder_;
  std::optional<Watchdog> watchdog_;
};

}  // namespace tessera
