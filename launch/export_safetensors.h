#pragma once
// The parameters of a checkpoint for other programs.

#include <string>

namespace tessera {

struct ExportOptions {
  std::string checkpoint;  ///< folder, or a run folder, whose latest checkpoint is taken
  std::string out;
  std::string dtype = "f32";  ///< or bf16, rounded to nearest even
};

/// Writes a safetensors file with every parameter under its logical name, and the step and the caller's state in its metadata
/// (docs/checkpoints.md).  Throws Error when the checkpoint is damaged or the file cannot be written; then there is none.
void export_safetensors(const ExportOptions& options);

}  // namespace tessera
