#pragma once
// The training loop.

#include <memory>

#include "launch/config.h"
#include "layers/transformer.h"
#include "parallel/communicator.h"

namespace tessera {

/// Trains on every rank of world until the run's last step, from its latest checkpoint if there is one.  Collective.
/// Returns the exit code of the program (launch/process.h).  Throws Error on bad input.
int train(const Config& config, Communicator& world);
/// The same on ranks that flight records already.
int train_recorded(const Config& config, Communicator& world, Flight& flight);

/// Collective.  Throws AgreedError when the config fits neither the ranks nor the dataset.
std::unique_ptr<Loader> open_loader(const Config& config, Communicator& world, Stream stream);

/// What does not learn, the model or its auxiliary routers, becomes constant.
void choose_trained(Transformer& model, bool trains_model);

}  // namespace tessera
