#include "launch/footprint.h"

#include <algorithm>
#include <bit>

namespace tessera {
namespace {

/// A shard group: how many numbers it has, over how many experts they may be dealt (0: not at all), and how often it is gathered in a
/// round when it is dropped after each use.
struct Group {
  int64_t count = 0;
  int64_t experts = 0;
  int64_t uses = 2;
};

std::vector<Group> groups_of_layer(const ModelConfig& config, int64_t layer) {
  const int64_t width = config.width, network = 3 * width * config.inner();
  const auto auxiliary = [&](int64_t experts) {
    return config.auxiliary_routers ? (width + experts) * (width / 2) : 0;
  };
  std::vector<Group> groups;
  if (config.routes_depth(layer)) groups.push_back({width + auxiliary(1)});
  groups.push_back({width + 4 * width * width + (config.qk_norm ? 4 * config.head_dim() : 0)});
  const std::vector<ExpertGroup> experts = parse_feed_forward(config.feed_forward_of(layer));
  Group& first = groups.emplace_back(Group{width});  // the norm, and the dense network or the routers
  if (experts.empty()) first.count += network;
  for (const ExpertGroup& group : experts)
    if (group.routed()) first.count += group.experts * width + auxiliary(group.experts);
  for (const ExpertGroup& group : experts) groups.push_back({group.experts * network, group.experts});
  return groups;
}

std::vector<Group> groups_of(const ModelConfig& config) {
  std::vector<Group> groups{{config.vocab * config.width}};
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const Group& group : groups_of_layer(config, layer)) groups.push_back(group);
  groups.push_back({.count = config.width + config.vocab * config.width, .uses = 1});
  return groups;
}

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Nodes of the canonical tree that cover leaves [first, end): one per maximal aligned block, from the left.
int64_t count_nodes(int64_t first, int64_t end) {
  int64_t nodes = 0;
  while (first < end) {
    const auto room = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(end - first)));
    first += first == 0 ? room : std::min(room, first & -first);
    ++nodes;
  }
  return nodes;
}

/// Where a rank stands.
struct Place {
  Place(const Layout& layout, int rank)
      : replicas(layout.mesh.replicate),
        experts(layout.mesh.expert),
        size(layout.ranks / replicas),
        replica(rank / size),
        in_replica(rank % size) {}

  int64_t replicas, experts, size, replica, in_replica;
  int64_t first_leaf(int64_t leaves) const { return replica * leaves / replicas; }
  int64_t end_leaf(int64_t leaves) const { return (replica + 1) * leaves / replicas; }
};

/// A group as one rank sees it.
struct Shard {
  bool dealt;
  int64_t held;     ///< numbers that the ranks which share it hold together
  int64_t members;  ///< those ranks
  int64_t member;   ///< which of them this rank is
  int64_t share;    ///< numbers per member, with padding
  int64_t uses;     ///< in a round

  Shard(const Group& group, const Place& place) {
    dealt = place.experts > 1 && group.experts > 0 && group.experts % place.experts == 0;
    const int64_t parts = dealt ? place.experts : 1;
    held = group.count / parts;
    members = place.size / parts;
    member = place.in_replica / parts;
    share = ceil_divide(held, members * place.replicas) * place.replicas;
    uses = group.uses;
  }
};

void add_group(const Shard& shard, const Place& place, const Layout& layout, int64_t leaves,
               StepTraffic& traffic) {
  const int64_t first = place.first_leaf(leaves), end = place.end_leaf(leaves);
  const int64_t rounds = ceil_divide(end - first, place.size);
  const int64_t gathers = layout.sharding.reshard_after_forward ? shard.uses * rounds : 1;
  traffic.gather += gathers * (shard.members - 1) * shard.share * bytes_of(layout.sharding.compute);
  const int64_t each = shard.dealt ? place.experts : 1;  // leaves whose gradients a member forms
  for (int64_t round = 0; round < rounds; ++round) {
    const int64_t round_end = std::min(end, first + (round + 1) * place.size);
    const int64_t begin = std::min(round_end, first + round * place.size + shard.member * each);
    traffic.gradients +=
        count_nodes(begin, std::min(round_end, begin + each)) * (shard.members - 1) * shard.share * 4;
  }
  if (place.replicas > 1)
    traffic.replicas +=
        (count_nodes(first, end) + 1) * (place.replicas - 1) * shard.share / place.replicas * 4;
}

/// Rows that a rank sends in one direction of one layer and group: its own slots to other holders of experts, and what it worked on
/// for others back to them.
int64_t rows_of_round(const ModelConfig& config, const ExpertGroup& group, const Place& place, int64_t round,
                      const std::vector<PoolTokens>& leaves) {
  const auto count = std::ssize(leaves);
  const int64_t end = std::min(place.end_leaf(count), place.first_leaf(count) + (round + 1) * place.size);
  const int64_t own = place.first_leaf(count) + round * place.size + place.in_replica;
  const int64_t first_peer = own - place.in_replica % place.experts;
  const auto slots = [&](int64_t leaf) {
    return leaf < end ? slots_of_each(config, group, leaves[static_cast<size_t>(leaf)]) : 0;
  };
  const int64_t held = group.experts / place.experts;
  int64_t rows = slots(own) * (group.experts - held);
  for (int64_t peer = first_peer; peer < first_peer + place.experts; ++peer)
    if (peer != own) rows += slots(peer) * held;
  return rows;
}

}  // namespace

StepTraffic by_kind(const Traffic& sent) {
  StepTraffic kinds;
  for (const auto& [purpose, bytes] : sent) {
    if (purpose.starts_with("gather ")) kinds.gather += bytes;
    if (purpose.starts_with("exchange gradients of ")) kinds.gradients += bytes;
    if (purpose.starts_with("exchange replicas of ") || purpose.starts_with("sum of replicas of "))
      kinds.replicas += bytes;
    if (purpose.starts_with("expert_dispatch ") || purpose.starts_with("expert_combine "))
      kinds.rows += bytes;
  }
  return kinds;
}

StepTraffic step_traffic(const ModelConfig& model, const Layout& layout, int rank,
                         const std::vector<PoolTokens>& leaves) {
  const Place place(layout, rank);
  const auto count = std::ssize(leaves);
  StepTraffic traffic;
  for (const Group& group : groups_of(model)) add_group(Shard(group, place), place, layout, count, traffic);
  if (place.experts == 1) return traffic;
  const int64_t rounds = ceil_divide(place.end_leaf(count) - place.first_leaf(count), place.size);
  const int64_t passes = layout.recompute_blocks ? 3 : 2;  // forward, again, backward
  for (int64_t layer = 0; layer < model.layers; ++layer)
    for (const ExpertGroup& group : parse_feed_forward(model.feed_forward_of(layer))) {
      if (group.experts % place.experts != 0) continue;
      TESSERA_CHECK(!model.routes_depth(layer), "step_traffic: which rows enter layer ", layer,
                    " is for its router to choose");
      for (int64_t round = 0; round < rounds; ++round)
        traffic.rows += passes * rows_of_round(model, group, place, round, leaves) * model.width *
                        bytes_of(layout.sharding.compute);
    }
  return traffic;
}

int64_t state_bytes(const ModelConfig& model, const Layout& layout, int rank) {
  const Place place(layout, rank);
  int64_t numbers = 0;
  for (const Group& group : groups_of(model)) {
    const Shard shard(group, place);
    numbers += std::clamp<int64_t>(shard.held - shard.member * shard.share, 0, shard.share);
  }
  return 16 * numbers;  // value, gradient, first and second moment in f32
}

}  // namespace tessera
