#include "launch/sampling.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace {

struct Candidate {
  int32_t id;
  double logit;
};

std::vector<Candidate> candidates_of(std::span<const float> logits, const AllowedIds& allowed,
                                     std::span<const int32_t> seen, double penalty) {
  std::vector<uint8_t> is_seen(logits.size(), 0);
  for (int32_t id : seen) is_seen.at(static_cast<size_t>(id)) = 1;
  std::vector<Candidate> candidates;
  for (const auto& [first, last] : allowed)
    for (int32_t id = first; id < last; ++id) {
      const auto place = static_cast<size_t>(id);
      double logit = logits[place];
      TESSERA_CHECK(!std::isnan(logit), "sample: the logit of token ", id, " is not a number");
      if (is_seen[place]) logit = logit > 0 ? logit / penalty : logit * penalty;
      candidates.push_back({id, logit});
    }
  TESSERA_CHECK(!candidates.empty(), "sample: no token is allowed");
  return candidates;
}

}  // namespace

int32_t sample(std::span<const float> logits, const AllowedIds& allowed, std::span<const int32_t> seen,
               const SamplingOptions& options, double uniform) {
  std::vector<Candidate> candidates = candidates_of(logits, allowed, seen, options.repetition_penalty);
  std::ranges::sort(candidates, [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  });
  if (options.temperature == 0) return candidates[0].id;

  std::vector<double> weights;
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    weights.push_back(std::exp((candidate.logit - candidates[0].logit) / options.temperature));
    sum += weights.back();
  }
  double nucleus = 0;
  size_t count = 0;
  while (count < weights.size() && (count == 0 || nucleus < options.top_p * sum)) nucleus += weights[count++];
  double left = uniform * nucleus;
  for (size_t i = 0; i < count; ++i)
    if ((left -= weights[i]) < 0) return candidates[i].id;
  return candidates[count - 1].id;  // rounding
}

std::vector<float> guided(std::span<const float> full, std::span<const float> only_images,
                          std::span<const float> none, double text, double images) {
  std::vector<float> logits;
  for (size_t i = 0; i < full.size(); ++i)
    logits.push_back(static_cast<float>(none[i] + images * (double(only_images[i]) - none[i]) +
                                        text * (double(full[i]) - only_images[i])));
  return logits;
}

}  // namespace tessera
