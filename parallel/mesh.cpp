#include "parallel/mesh.h"

#include <algorithm>

#include "runtime/error.h"

namespace tessera {

void check(const MeshConfig& config, int ranks) {
  const int64_t parts = config.replicate * config.expert;
  TESSERA_CHECK(ranks % parts == 0, "mesh: replicate x expert is ", config.replicate, " x ", config.expert,
                ", which does not divide ", ranks, ranks == 1 ? " rank" : " ranks");
}

Mesh::Mesh(Communicator& world, const MeshConfig& config) : world_(&world) {
  check(config, world.size());
  const int64_t ranks = world.size(), size = ranks / config.replicate;  // of a replica
  const int64_t shards = size / config.expert;
  const int64_t replica = world.rank() / size, place = world.rank() % size;
  const auto group = [&](int64_t members, int64_t color) {
    if (members == ranks) return world_;
    made_.push_back(members == 1 ? solo_communicator() : world.split(static_cast<int>(color), world.rank()));
    return made_.back().get();
  };
  replica_ = group(size, replica);
  across_ = group(config.replicate, place);
  expert_ = group(config.expert, replica * shards + place / config.expert);
  shard_ = config.expert == 1 ? replica_ : group(shards, replica * config.expert + place % config.expert);
}

LeafRange Mesh::leaves_of(int replica, int64_t leaves) const {
  const int64_t replicas = across_->size();
  TESSERA_CHECK(leaves >= replicas, "mesh: ", replicas, " replicas need as many micro-batches, got ", leaves);
  return {replica * leaves / replicas, (replica + 1) * leaves / replicas};
}

int64_t Mesh::rounds(int64_t leaves) const {
  const int64_t size = replica_->size();
  return (leaves_of_this_replica(leaves).count() + size - 1) / size;
}

LeafRange Mesh::round_of_this_replica(int64_t round, int64_t leaves) const {
  const LeafRange all = leaves_of_this_replica(leaves);
  const int64_t first = all.first + round * replica_->size();
  return {first, std::min(first + replica_->size(), all.end)};
}

std::optional<int64_t> Mesh::leaf(int64_t round, int64_t leaves) const {
  const LeafRange range = round_of_this_replica(round, leaves);
  const int64_t leaf = range.first + replica_->rank();
  return leaf < range.end ? std::optional(leaf) : std::nullopt;
}

Mesh::Turn Mesh::turn_of(int64_t leaf, int64_t leaves) const {
  int replica = 0;
  while (leaf >= leaves_of(replica, leaves).end) ++replica;
  const int64_t size = replica_->size(), place = leaf - leaves_of(replica, leaves).first;
  return {static_cast<int>(replica * size + place % size), place / size};
}

}  // namespace tessera
