#pragma once
// A trained model that reads sequences bit by bit and says what it expects next.

#include <span>
#include <string>
#include <vector>

#include "data/vocabulary.h"
#include "launch/trained_model.h"
#include "layers/key_value_cache.h"

namespace tessera {

/// How routers choose when later tokens are not there yet.
enum class CausalRouting : uint8_t {
  none,  ///< no router compares tokens
  thresholds,
  auxiliary_routers,
};

/// name: "thresholds", "auxiliary_routers", or empty for what the model has, auxiliary routers first.  Throws Error when the model
/// has not got it.
CausalRouting causal_routing_of(const TrainedModel& trained, const std::string& name);

class Decoder {
 public:
  /// capacity: tokens of a sequence, at most.  trained must outlive the decoder and be of one rank.
  Decoder(TrainedModel& trained, const Vocabulary& vocabulary, CausalRouting routing, int64_t sequences,
          int64_t capacity, Stream stream);

  struct Reading {
    int64_t sequence;
    std::span<const int32_t> tokens;  ///< at least one
  };
  /// Appends tokens to different sequences; f32 [vocab] for each, the logits after its last token.  Throws Error when a sequence
  /// is full.
  std::vector<std::vector<float>> read(std::span<const Reading> readings);

  /// The sequence starts anew.
  void forget(int64_t sequence);

 private:
  Rows rows_of(std::span<const Reading> readings);

  TrainedModel& trained_;
  Vocabulary vocabulary_;
  CausalRouting routing_;
  KeyValueCache cache_;
  std::vector<int64_t> lengths_;  ///< by sequence
  Stream stream_;
};

}  // namespace tessera
