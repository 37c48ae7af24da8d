#include "launch/flight.h"

#include <filesystem>

#include "launch/post_mortem.h"
#include "parallel/agree.h"
#include "parallel/recorded.h"
#include "runtime/log.h"
#include "runtime/trace.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFewest = 64;  ///< records, in memory, of a run without files

/// A number that no earlier start of the run had, from rank 0.
uint64_t number_of_start(Communicator& world) {
  const double now[] = {static_cast<double>(std::chrono::system_clock::now().time_since_epoch().count())};
  return static_cast<uint64_t>(all_gather_values(world, now)[0]);
}

/// Makes the folder, without what an earlier start left in it.
void clear(const std::string& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  TESSERA_CHECK(!failure, folder, ": cannot be made: ", failure.message());
  fs::remove(hang_report_path(folder));
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".ring") fs::remove(entry.path());
}

}  // namespace

Flight::Flight(const FlightConfig& config, Communicator& world)
    : config_(config),
      recorder_(world.rank(), world.size(), std::max(config.records, kFewest), number_of_start(world)),
      world_(recorded(world, recorder_, "world")) {}

Communicator& Flight::record(Communicator& ranks, Communicator& world) {
  if (&ranks == &world) return ranks;
  devices_ = recorded(ranks, recorder_, "devices");
  return *devices_;
}

void Flight::persist(const std::string& run) {
  if (config_.records == 0) return;
  folder_ = flight_folder(run);
  agree(*world_, [&] {
    if (world_->rank() == 0) clear(folder_);
  });
  agree(*world_, [&] { recorder_.persist(flight_ring_path(folder_, world_->rank())); });
  watchdog_.emplace(recorder_, folder_,
                    std::chrono::nanoseconds(static_cast<int64_t>(config_.watchdog_seconds * 1e9)));
}

int Flight::guard(const std::function<int()>& body) {
  try {
    const int code = body();
    recorder_.end(FlightEnd::finished, "");
    return code;
  } catch (const std::exception& error) {
    recorder_.end(FlightEnd::error, error.what());
    if (!dynamic_cast<const AgreedError*>(&error)) explain();
    throw;
  }
}

void Flight::explain() const {
  if (!watchdog_ || recorder_.ranks() == 1) return;
  // Under MPI this rank's end ends the others: they get time to come to where they differ from it.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  Verdict verdict;
  try {
    std::vector<std::string> problems;
    verdict = examine(read_flight_rings(folder_, problems));
  } catch (const Error&) {
    return;  // the error that brought us here is the one to tell
  }
  if (verdict.fault == Fault::skipped || verdict.fault == Fault::extra || verdict.fault == Fault::reordered ||
      verdict.fault == Fault::resized)
    log_line("post-mortem: " + verdict.sentence);
}

}  // namespace tessera
