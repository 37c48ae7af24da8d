#pragma once
// From what the loader reads to what the model reads.

#include "data/loader.h"
#include "launch/config.h"
#include "layers/model_config.h"
#include "layers/rows.h"
#include "parallel/mesh.h"

namespace tessera {

/// The batch, which is on the host, for a model on stream: its tensors are shared on cpu, copied elsewhere.  Builds the lists
/// of candidates for routing.
Rows rows_of(const Batch& batch, Stream stream);

/// The same for this rank's micro-batch of a round of training, with what is computed again in backward, and with the
/// micro-batches whose rows travel between the ranks of this rank's expert axis.  The model that reads them leaves
/// its choices in routings.
Rows rows_of_round(const Batch& batch, const Config& config, const Mesh& mesh, const Loader& loader,
                   int64_t step, int64_t round, Routings& routings, Stream stream);

/// The tokens of a micro-batch, as model.routing_pool has them.
PoolTokens pool_tokens(const std::vector<PerModality>& of_units, const std::string& routing_pool);

/// What layers/model_config.h needs to count the operations of a micro-batch.  routings: what the model's routers left in
/// rows.record; without mixture-of-depths it may be empty.
FlopInputs flop_inputs(const Rows& rows, const ModelConfig& config, const Routings& routings);

}  // namespace tessera
