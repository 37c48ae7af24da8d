#include "launch/run_folder.h"

#include <filesystem>
#include <vector>

#include "launch/process.h"
#include "parallel/checkpoint_files.h"
#include "runtime/log.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// Settings that may change between the parts of a run without a word: they do not touch results.
bool is_free(const std::string& key) {
  for (const char* free :
       {"out", "stop_at", "resume", "save_every", "keep", "save_buffer", "damaged_checkpoint", "isa",
        "threads", "thread_ranks", "reshard_after_forward", "trace", "loader.prefetch",
        "flight_recorder.records", "flight_recorder.watchdog_seconds", "comm.progress"})
    if (key == free) return true;
  return false;
}

/// Renames what is damaged; the latest checkpoint that is not.
std::optional<std::string> latest_whole_checkpoint(const std::string& directory, Communicator& world) {
  while (const std::optional<std::string> latest = latest_checkpoint(directory)) {
    try {
      verify_checkpoint(*latest, world);
      return latest;
    } catch (const AgreedError& damage) {
      world.barrier();  // every rank has looked it up
      agree(world, [&] {
        if (world.rank() == 0)
          log_line(str("warning: ", damage.what(), "; set aside as ", set_checkpoint_aside(*latest)));
      });
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> open_run_folder(const std::string& directory, const ResumeOptions& options,
                                           Communicator& world) {
  std::optional<std::string> latest;
  agree(world, [&] {
    if (world.rank() != 0) return;
    std::error_code failure;
    fs::create_directories(directory, failure);
    TESSERA_CHECK(!failure, directory, ": cannot be made: ", failure.message());
    sweep_checkpoints(directory);
  });
  agree(world, [&] {
    latest = latest_checkpoint(directory);
    TESSERA_CHECK(options.resume || !latest, "resume is false but ", latest.value_or(""),
                  " is there: choose another out or remove it");
  });
  return options.sets_damaged_aside ? latest_whole_checkpoint(directory, world) : latest;
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

RunCheckpoints::RunCheckpoints(std::string directory, const SaveOptions& options,
                               const CheckpointTensors& tensors, Communicator& world)
    : directory_(std::move(directory)),
      options_(options),
      world_(world),
      saver_(directory_, tensors, options.save_buffer << 20, world) {}

StepEnd RunCheckpoints::end_of_step(int64_t done, int64_t last, const std::function<Json()>& state) {
  const int signal = stop_signal(world_);
  const bool ends = signal != 0 || done >= last;
  if (ends || done % options_.save_every == 0) {
    finish();
    saver_.start(done, state());
  }
  published(ends ? saver_.finish() : saver_.poll());
  if (signal == 0 || done >= last) return {.go_on = !ends};
  if (world_.rank() == 0)
    log_line(str("signal ", signal, ": saved after ", done,
                 " steps and stopped; start the same command again to go on"));
  return {.go_on = false, .exit_code = kExitRequeue};
}

void RunCheckpoints::published(const std::optional<SaveTimes>& times) {
  if (!times) return;
  times_ = times;
  agree(world_, [&] {
    if (world_.rank() != 0) return;
    const std::vector<std::string> all = checkpoints_in(directory_);
    for (size_t i = 0; i + static_cast<size_t>(options_.keep) < all.size(); ++i) remove_checkpoint(all[i]);
  });
}

}  // namespace tessera
