#pragma once
// What counting achieves: cross-entropy of unigram and bigram models of the train split on held-out tokens, the figures
// that a trained model has to beat.
//
// Both are told the modality of the token to come, so they are stricter than a model that has to predict it as well.
//   unigram: p(t) = (count(t) + 1) / (count of the modality + ids of the modality)
//   bigram:  p(t | s) = (count(s, t) + kinds(s) p(t)) / (count(s) + kinds(s)), counts and kinds within the modality of t;
//            kinds(s) = different tokens of that modality seen after s (Witten and Bell, 1991)
// The tokens are exactly the scored targets of data/batch.h.

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "data/shard.h"

namespace tessera {

struct NgramScore {
  int64_t tokens = 0;
  double unigram_nats = 0;  ///< sums
  double bigram_nats = 0;

  double unigram() const { return tokens ? unigram_nats / static_cast<double>(tokens) : 0; }
  double bigram() const { return tokens ? bigram_nats / static_cast<double>(tokens) : 0; }
};

struct NgramScores {
  NgramScore text;
  NgramScore image_plain;  ///< image tokens whose code stands for plain background
  NgramScore image_other;
};

class NgramBaseline {
 public:
  /// Reads every unit of the train split once.
  explicit NgramBaseline(const TokenDataset& train);

  double unigram_nats(int32_t token) const;
  double bigram_nats(int32_t previous, int32_t token) const;

  /// plain: [image_codes] as ImageTokenizer::plain().
  NgramScores score(const TokenDataset& dataset, std::span<const UnitRef> units,
                    std::span<const uint8_t> plain) const;

 private:
  struct Followers {
    int64_t tokens = 0;
    int64_t kinds = 0;
  };
  size_t modality(int32_t token) const { return static_cast<size_t>(vocabulary_.modality_of(token)); }
  double unigram(int32_t token) const;

  Vocabulary vocabulary_;
  std::vector<int64_t> counts_;  ///< by id
  PerModality totals_{}, ids_{};
  std::vector<std::array<Followers, kModalities>> followers_;  ///< by id of the token before
  std::unordered_map<uint64_t, int64_t> pairs_;                ///< previous << 32 | token
};

/// All units of a split, mixed ones first.
std::vector<UnitRef> all_units(const TokenDataset& dataset);

}  // namespace tessera
