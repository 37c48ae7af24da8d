#pragma once
// What is in a file or folder of ours.

#include <ostream>
#include <string>

namespace tessera {

enum class InspectFormat { text, json };

/// A dataset folder, a shard file, a checkpoint folder or a run folder: recognised by what is in it,
/// checked whole (checksums, ranges, ids), and summarised.  Returns the exit code: 0, or 1 when a check
/// failed, which the summary names.
/// Throws Error when path is none of the four or cannot be read.
int run_inspect(const std::string& path, std::ostream& out, InspectFormat format = InspectFormat::text);

}  // namespace tessera
