#include "launch/statistics.h"

#include <algorithm>

#include "parallel/canonical_sum.h"

namespace tessera {
namespace {

/// Calls visit(name prefix, expert layer) for every block with experts.
template <class Visit>
void for_each_expert_layer(const Transformer& model, const Visit& visit) {
  for (size_t block = 0; block < model.blocks.size(); ++block)
    if (const auto* experts = std::get_if<Sharded<MixtureOfExperts>>(&model.blocks[block].feed_forward))
      visit(std::to_string(block) + "/", experts->layer);
}

/// Candidate tokens of a group and how many of them no expert chose.
struct Coverage {
  double tokens = 0, unrouted = 0;
};
Coverage coverage(const ExpertGroup& group, int64_t first_expert, const Routing& routing,
                  const std::vector<int32_t>& slots, const Rows& rows) {
  std::vector<bool> chosen(static_cast<size_t>(rows.tokens.count()), false);
  Coverage result{static_cast<double>(candidates_of(group, rows).index.count()), 0};
  result.unrouted = result.tokens;
  const int64_t begin = routing.offsets[static_cast<size_t>(first_expert)];
  const int64_t end = routing.offsets[static_cast<size_t>(first_expert + group.experts)];
  for (int64_t slot = begin; slot < end; ++slot) {
    const auto row = static_cast<size_t>(slots[static_cast<size_t>(slot)]);  // a candidate
    result.unrouted -= !chosen[row];
    chosen[row] = true;
  }
  return result;
}

}  // namespace

void StepStatistics::add(const Batch& batch, const Loss& loss, const Rows& rows, const Ledger& ledger) {
  std::vector<double> numbers(kModalities, 0.0);
  const std::span<const int32_t> targets = batch.targets.values<int32_t>();
  const std::vector<float> nll = loss.nll.to_vector<float>();
  for (size_t row = 0; row < targets.size(); ++row)
    if (targets[row] >= 0) numbers[static_cast<size_t>(vocabulary_.modality_of(targets[row]))] += nll[row];
  numbers.push_back(static_cast<double>(batch.tokens.count()));
  numbers.push_back(static_cast<double>(ledger.total().flops()));
  for_each_expert_layer(model_, [&](const std::string&, const MixtureOfExperts& layer) {
    const Routing& routing = rows.record->at(layer.layer).routing;
    const std::vector<int32_t> slots = routing.index.to_vector<int32_t>();
    int64_t expert = 0;
    for (const ExpertGroup& group : layer.groups) {
      const Coverage covered = coverage(group, expert, routing, slots, rows);
      numbers.push_back(covered.tokens);
      numbers.push_back(covered.unrouted);
      for (int64_t i = 0; i < group.experts; ++i, ++expert)
        numbers.push_back(static_cast<double>(routing.offsets[static_cast<size_t>(expert + 1)] -
                                              routing.offsets[static_cast<size_t>(expert)]));
    }
  });
  leaves_.push_back(std::move(numbers));
}

std::vector<double> sum_over_leaves(const std::vector<std::vector<double>>& rows, int64_t leaves,
                                    size_t width, Communicator& world) {
  // Ranks without a leaf in the last round send zeros that nobody reads.
  const auto rounds = static_cast<size_t>((leaves + world.size() - 1) / world.size());
  std::vector<double> mine(rounds * width, 0.0);
  for (size_t turn = 0; turn < rows.size(); ++turn)
    std::copy(rows[turn].begin(), rows[turn].end(), mine.begin() + static_cast<int64_t>(turn * width));
  const std::vector<double> all = all_gather_values(world, mine);
  std::vector<double> sums;
  for (size_t column = 0; column < width; ++column) {
    CanonicalSum<double> sum;
    for (int64_t leaf = 0; leaf < leaves; ++leaf) {
      const auto rank = static_cast<size_t>(leaf % world.size()),
                 turn = static_cast<size_t>(leaf / world.size());
      sum.push(all[(rank * rounds + turn) * width + column]);
    }
    sums.push_back(sum.total());
  }
  return sums;
}

StepSummary StepStatistics::total(const StepPlan& plan, Communicator& world) {
  size_t width = kModalities + 2;
  for_each_expert_layer(model_, [&](const std::string&, const MixtureOfExperts& layer) {
    width += 2 * layer.groups.size() + layer.labels.size();
  });
  const std::vector<double> sums = sum_over_leaves(leaves_, plan.leaves, width, world);
  leaves_.clear();

  StepSummary summary;
  size_t at = 0;
  double nll = 0;
  for (size_t modality = 0; modality < kModalities; ++modality, ++at) {
    nll += sums[at];
    const int64_t count = plan.target_counts[modality];
    summary.loss_of.push_back(count ? std::optional(sums[at] / static_cast<double>(count)) : std::nullopt);
  }
  summary.loss = nll / static_cast<double>(plan.target_count);
  summary.tokens = sums[at++];
  summary.flops = sums[at++];
  for_each_expert_layer(model_, [&](const std::string& prefix, const MixtureOfExperts& layer) {
    size_t label = 0;
    for (const ExpertGroup& group : layer.groups) {
      const double tokens = sums[at++], unrouted = sums[at++];
      summary.unrouted[prefix + group.name] = tokens > 0 ? unrouted / tokens : 0;
      for (int64_t i = 0; i < group.experts; ++i) {
        const double slots = sums[at++];
        summary.expert_load[prefix + layer.labels[label++]] = tokens > 0 ? slots / tokens : 0;
      }
    }
  });
  return summary;
}

}  // namespace tessera
