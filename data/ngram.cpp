#include "data/ngram.h"

#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace {

uint64_t pair_key(int32_t previous, int32_t token) {
  return static_cast<uint64_t>(previous) << 32 | static_cast<uint32_t>(token);
}

/// Calls visit(previous, target) for every scored target.
template <class Visit>
void for_each_target(const TokenDataset& dataset, std::span<const UnitRef> units, const Visit& visit) {
  std::vector<int32_t> targets(static_cast<size_t>(dataset.length()));
  for (const UnitRef ref : units) {
    const Unit unit = dataset.read(ref);
    targets_of(unit.tokens, unit.documents, targets);
    for (size_t row = 0; row < targets.size(); ++row)
      if (targets[row] >= 0) visit(unit.tokens[row], targets[row]);
  }
}

}  // namespace

std::vector<UnitRef> all_units(const TokenDataset& dataset) {
  std::vector<UnitRef> units;
  for (UnitKind kind : {UnitKind::mixed, UnitKind::text})
    for (int64_t unit = 0; unit < dataset.units(kind); ++unit) units.push_back({kind, unit});
  return units;
}

NgramBaseline::NgramBaseline(const TokenDataset& train)
    : vocabulary_(train.vocabulary()),
      counts_(static_cast<size_t>(vocabulary_.size())),
      ids_{vocabulary_.size() - vocabulary_.image_codes, vocabulary_.image_codes},
      followers_(counts_.size()) {
  for_each_target(train, all_units(train), [&](int32_t previous, int32_t token) {
    ++counts_[static_cast<size_t>(token)];
    ++totals_[modality(token)];
    Followers& followers = followers_[static_cast<size_t>(previous)][modality(token)];
    ++followers.tokens;
    followers.kinds += ++pairs_[pair_key(previous, token)] == 1;
  });
}

double NgramBaseline::unigram(int32_t token) const {
  const size_t m = modality(token);
  return static_cast<double>(counts_[static_cast<size_t>(token)] + 1) /
         static_cast<double>(totals_[m] + ids_[m]);
}

double NgramBaseline::unigram_nats(int32_t token) const { return -std::log(unigram(token)); }

double NgramBaseline::bigram_nats(int32_t previous, int32_t token) const {
  const Followers& followers = followers_[static_cast<size_t>(previous)][modality(token)];
  if (followers.tokens == 0) return unigram_nats(token);
  const auto found = pairs_.find(pair_key(previous, token));
  const double count = found == pairs_.end() ? 0 : static_cast<double>(found->second);
  const auto kinds = static_cast<double>(followers.kinds);
  return -std::log((count + kinds * unigram(token)) / (static_cast<double>(followers.tokens) + kinds));
}

NgramScores NgramBaseline::score(const TokenDataset& dataset, std::span<const UnitRef> units,
                                 std::span<const uint8_t> plain) const {
  require_vocabulary(dataset.index(), dataset.folder(), vocabulary_);
  TESSERA_CHECK(std::ssize(plain) == vocabulary_.image_codes, "ngram: plain marks ", plain.size(),
                " codes of ", vocabulary_.image_codes);
  NgramScores scores;
  for_each_target(dataset, units, [&](int32_t previous, int32_t token) {
    NgramScore* score = &scores.text;
    if (vocabulary_.modality_of(token) == Modality::image)
      score = plain[static_cast<size_t>(token - Vocabulary::kFirstImage)] ? &scores.image_plain
                                                                          : &scores.image_other;
    ++score->tokens;
    score->unigram_nats += unigram_nats(token);
    score->bigram_nats += bigram_nats(previous, token);
  });
  return scores;
}

}  // namespace tessera
