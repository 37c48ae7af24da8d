#pragma once
// The config of a training that takes a second.

#include "launch/config.h"

namespace tessera {

/// On the synthetic dataset of data/synthetic.h at data: width 32, 2 layers, micro-batches of 3 units.
inline Config tiny_run(const std::string& data, const std::string& feed_forward) {
  Config config;
  config.data = data;
  config.threads = 1;
  config.model.vocab = 64;
  config.model.width = 32;
  config.model.layers = 2;
  config.model.heads = 2;
  config.model.hidden = 48;
  config.model.feed_forward = {feed_forward};
  config.loader.mixed_units = 2;
  config.loader.text_units = 1;
  config.schedule.warmup = 2;
  config.schedule.peak = 3e-3f;
  return config;
}

}  // namespace tessera
