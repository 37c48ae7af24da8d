#pragma once
// What `tessera inspect` says of each kind of thing, as JSON: "kind", facts, tables (arrays of objects of
// the same keys), and "problems", an array of sentences that is empty when all is well.

#include <string>

#include "runtime/json.h"

namespace tessera {

/// A folder made by prepare: counts, shards, and statistics of every token of every split.
Json inspect_dataset(const std::string& folder);
/// One file of a dataset.  Throws Error when it is not one.
Json inspect_shard(const std::string& path);
/// A folder made by save_checkpoint: files with their verdicts, parameters with shapes and norms, the
/// caller's state.
Json inspect_checkpoint(const std::string& folder);
/// The folder of a training run: config, last metrics, checkpoints, evaluation.
Json inspect_run(const std::string& folder);

/// Facts indented under their names, tables in columns.
std::string readable_text(const Json& summary);

}  // namespace tessera
