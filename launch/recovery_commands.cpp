#include "launch/recovery_commands.h"

#include "launch/process.h"

namespace tessera {

RecoveryCommands::RecoveryCommands(CLI::App& app)
    : export_(app.add_subcommand("export-safetensors", "write a checkpoint's parameters for other programs")),
      replay_(
          app.add_subcommand("replay", "run a step of a run again and say where values stop being finite")),
      supervise_(app.add_subcommand(
          "supervise",
          "start a command again when it crashes: tessera supervise -- mpirun -n 4 tessera train ...")) {
  export_->add_option("checkpoint", export_options_.checkpoint, "checkpoint, or run folder: its latest one")
      ->required();
  export_->add_option("out", export_options_.out, "safetensors file to write")->required();
  export_->add_option("--dtype", export_options_.dtype, "f32, or bf16, rounded to nearest even")
      ->check(CLI::IsMember({"f32", "bf16"}));
  replay_->add_option("run", replay_options_.run, "run folder")->required();
  replay_->add_option("step", replay_options_.step, "index of the step, as in anomaly_STEP.json")
      ->required()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  replay_->add_option("--threads", replay_options_.threads, "compute threads of a rank, 0 = cores / ranks")
      ->check(CLI::Range(int64_t{0}, int64_t{1024}));
  supervise_->add_option("command", supervise_options_.command, "after --: the command and its arguments")
      ->required();
  supervise_->add_option("--restarts", supervise_options_.restarts, "crashes in a row that are forgiven")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  supervise_
      ->add_option("--backoff", supervise_options_.backoff,
                   "seconds before the first restart; doubles with every crash in a row, up to 60")
      ->check(CLI::Range(0.0, 60.0));
  supervise_
      ->add_option("--steady", supervise_options_.steady,
                   "seconds after which a crash is the first in a row again")
      ->check(CLI::Range(0.0, 1e9));
}

std::optional<int> RecoveryCommands::run() {
  if (export_->parsed()) {
    TESSERA_CHECK(!under_mpi(), "export-safetensors runs as one process: start it without mpirun");
    export_safetensors(export_options_);
    return kExitSuccess;
  }
  if (supervise_->parsed()) {
    TESSERA_CHECK(!under_mpi(), "supervise starts mpirun: tessera supervise -- mpirun ... tessera train ...");
    return supervise(supervise_options_);
  }
  if (replay_->parsed())
    return run_process(1, [&](Communicator& world) { return run_replay(replay_options_, world); });
  return std::nullopt;
}

}  // namespace tessera
