#pragma once
// The command lines around checkpoints and failures.

#include <CLI/CLI.hpp>
#include <optional>

#include "launch/export_safetensors.h"
#include "launch/replay.h"
#include "launch/supervise.h"

namespace tessera {

class RecoveryCommands {
 public:
  explicit RecoveryCommands(CLI::App& app);

  /// The exit code when one of them was asked for.
  std::optional<int> run();

 private:
  CLI::App *export_, *replay_, *supervise_;
  ExportOptions export_options_;
  ReplayOptions replay_options_;
  SuperviseOptions supervise_options_;
};

}  // namespace tessera
