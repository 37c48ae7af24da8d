#include "launch/run_folder.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "launch/process.h"
#include "parallel/checkpoint.h"
#include "runtime/log.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// Settings that may change between the parts of a run without a word: they do not touch results.
bool is_free(const std::string& key) {
  for (const char* free : {"out", "stop_at", "resume", "save_every", "keep", "isa", "threads", "thread_ranks",
                           "reshard_after_forward", "trace", "loader.prefetch", "flight_recorder.records",
                           "flight_recorder.watchdog_seconds", "comm.progress"})
    if (key == free) return true;
  return false;
}

}  // namespace

std::optional<std::string> open_run_folder(const std::string& directory, bool resume, Communicator& world) {
  std::optional<std::string> latest;
  agree(world, [&] {
    std::error_code failure;
    if (world.rank() == 0) fs::create_directories(directory, failure);
    TESSERA_CHECK(!failure, directory, ": cannot be made: ", failure.message());
  });
  agree(world, [&] {
    latest = latest_checkpoint(directory);
    TESSERA_CHECK(resume || !latest, "resume is false but ", latest.value_or(""),
                  " is there: choose another out or remove it");
  });
  return latest;
}

void warn_of_other_settings(const std::string& checkpoint, const Json& then, const Json& now) {
  for (const auto& [key, value] : now.items()) {
    const Json old = then.contains(key) ? then[key] : Json();
    if (!is_free(key) && old != value)
      log_line(str("warning: ", checkpoint, " was made with ", key, " ", old, ", this run has ", value));
  }
}

void warn_of_other_isa(const std::string& checkpoint, const std::string& then, const std::string& now) {
  if (then != now)
    log_line(str("warning: ", checkpoint, " was made at instruction-set level ", then, ", this run is at ",
                 now, ": results may differ in the last bits (set isa to keep the old level)"));
}

void remove_old_checkpoints(const std::string& directory, int64_t keep) {
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step_") && name.find('.') == std::string::npos) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  for (size_t i = 0; i + static_cast<size_t>(keep) < found.size(); ++i) fs::remove_all(found[i]);
}

StepEnd end_of_step(int64_t done, int64_t last, int64_t save_every, Communicator& world,
                    const std::function<void()>& save) {
  const int signal = stop_signal(world);
  if (signal != 0 || done == last || done % save_every == 0) save();
  if (signal == 0 || done >= last) return {.go_on = done < last};
  if (world.rank() == 0)
    log_line(str("signal ", signal, ": saved after ", done,
                 " steps and stopped; start the same command again to go on"));
  return {.go_on = false, .exit_code = kExitRequeue};
}

}  // namespace tessera
