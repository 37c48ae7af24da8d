#include "parallel/node_exchange.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/meta_engine.h"

namespace tessera {

void NodeExchange::start(Communicator& communicator, std::vector<Tensor> nodes, std::vector<LeafRange> leaves,
                         int64_t part, Stream stream) {
  const MemoryFor use(MemoryUse::communication, stream);
  leaves_ = std::move(leaves);
  part_ = part;
  if (communicator.size() == 1) {
    for (Tensor& node : nodes) turns_.push_back({std::move(node), [](Stream) {}});
    return;
  }
  std::vector<size_t> counts;
  for (const LeafRange& range : leaves_) counts.push_back(canonical_nodes(range.first, range.end).size());
  const size_t turns = *std::ranges::max_element(counts);
  for (size_t turn = 0; turn < turns; ++turn) {
    const bool sends = turn < nodes.size();
    const std::vector<int64_t> send_counts(leaves_.size(), sends ? part : 0);
    std::vector<int64_t> receive_counts;
    for (size_t count : counts) receive_counts.push_back(turn < count ? part : 0);
    const int64_t received = std::reduce(receive_counts.begin(), receive_counts.end());
    turns_.push_back(communicator.all_to_all(
        sends ? std::move(nodes[turn]) : Tensor::empty({0}, DType::f32, stream), send_counts,
        Tensor::empty({received}, DType::f32, stream), receive_counts, stream));
  }
}

void NodeExchange::finish(CanonicalSum<Tensor>& sum, Stream stream) {
  const MemoryFor use(MemoryUse::gradients, stream);
  std::vector<Tensor> turns;
  for (Pending<Tensor>& turn : turns_) turns.push_back(std::move(turn).wait(stream));
  turns_.clear();
  const std::vector<LeafRange> leaves = std::exchange(leaves_, {});
  if (leaves.size() == 1) {
    const std::vector<CanonicalNode> nodes = canonical_nodes(leaves[0].first, leaves[0].end);
    for (size_t i = 0; i < nodes.size(); ++i) sum.push(nodes[i], std::move(turns[i]));
    return;
  }
  std::vector<int64_t> at(turns.size(), 0);
  for (const LeafRange& range : leaves) {
    size_t turn = 0;
    for (const CanonicalNode& node : canonical_nodes(range.first, range.end)) {
      // A copy, since a view left in the sum would keep all parts in memory until its partner comes.
      Tensor copied = Tensor::empty({part_}, DType::f32, stream);
      copy(turns[turn].slice(at[turn], {part_}), copied);
      at[turn++] += part_;
      sum.push(node, std::move(copied));
    }
  }
}

}  // namespace tessera
