#pragma once
// `tessera train-image-tokenizer`: the training loop of layers/image_autoencoder.h.

#include "launch/image_tokenizer_config.h"
#include "parallel/communicator.h"

namespace tessera {

/// Trains on every rank of world until the run's last step, from its latest checkpoint if there is one; the micro-batches of a
/// step are leaves (docs/design.md, section 3), so that any number of ranks gives the same bits.  Collective.  Returns the
/// exit code of the program (launch/process.h).  Throws Error on bad input or when the loss is not finite.
int train_image_tokenizer(const ImageTokenizerConfig& config, Communicator& world);

}  // namespace tessera
