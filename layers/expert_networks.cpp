#include "layers/expert_networks.h"

#include <memory>
#include <numeric>
#include <optional>

#include "autograd/recompute.h"
#include "parallel/row_exchange.h"

namespace tessera {
namespace {

/// Where each part begins, and the end.
std::vector<int64_t> offsets_of(std::span<const int64_t> counts) {
  std::vector<int64_t> offsets(counts.size() + 1, 0);
  std::partial_sum(counts.begin(), counts.end(), offsets.begin() + 1);
  return offsets;
}

int64_t sum(std::span<const int64_t> counts) { return std::reduce(counts.begin(), counts.end(), int64_t{0}); }

Var joined(std::span<const Var> parts) {
  if (parts.size() == 1) return parts[0];
  int64_t rows = 0;
  for (const Var& part : parts) rows += part.shape()[0];
  return reshape(concat(parts), {rows, parts[0].shape()[1]});
}

/// Slots of the experts that this rank holds, by micro-batch: what the networks work on.
using HeldSlots = std::vector<std::vector<int64_t>>;

Var run_networks(ExpertNetworks& layer, const Var& rows, const HeldSlots& slots, bool dealt, bool again) {
  return segment_of(rows, again, [&layer, slots, dealt](const Var& x) {
    std::optional<Tape::Labels> labels;
    std::optional<Tape::Unbooked> unbooked;  // most rows are those of other ranks' micro-batches
    dealt ? void(unbooked.emplace()) : void(labels.emplace(layer.labels));
    std::vector<int64_t> counts;
    for (const std::vector<int64_t>& of_leaf : slots) counts.push_back(sum(of_leaf));
    const std::vector<Var> parts = split(x, offsets_of(counts));
    std::vector<Var> done;
    for (size_t leaf = 0; leaf < slots.size(); ++leaf)
      done.push_back(swiglu_network(parts[leaf], layer.gate.of_leaf(leaf), layer.up.of_leaf(leaf),
                                    layer.down.of_leaf(leaf), offsets_of(slots[leaf])));
    return joined(done);
  });
}

/// What the networks cost the rows of this rank's micro-batch, wherever they are worked on.
void book(const ExpertNetworks& layer, const Var& rows, std::span<const int64_t> slots) {
  Tape* tape = Tape::active();
  if (!tape) return;
  const int64_t backward = rows.tracked() || layer.gate.trained ? 2 : 0;
  const int64_t per_row = 3 * 2 * layer.gate.shape[1] * layer.gate.shape[2];
  for (size_t expert = 0; expert < slots.size(); ++expert) {
    const Cost cost{slots[expert] * per_row, backward * slots[expert] * per_row, 0};
    tape->ledger().add("matmul", cost);
    tape->ledger().add_part(layer.labels[expert], cost);
  }
}

/// The rows of one group on their way to its experts and back.
class Dealt {
 public:
  /// of_peers: slots by rank of the axis and expert of the group.
  Dealt(const ShardGroup& group, const HeldSlots& of_peers)
      : name_(group.name()), over_(*group.dealt_over()) {
    const auto ranks = static_cast<size_t>(over_.size()), own = static_cast<size_t>(over_.rank());
    const size_t each = of_peers[own].size() / ranks;
    const auto experts_of = [&](size_t peer, size_t holder) {
      return std::span(of_peers[peer]).subspan(holder * each, each);
    };
    for (size_t rank = 0; rank < ranks; ++rank) {
      const std::span<const int64_t> here = experts_of(rank, own);
      held_.emplace_back(here.begin(), here.end());
      dispatch_.send.push_back(sum(experts_of(own, rank)));
      dispatch_.receive.push_back(sum(here));
    }
  }

  const HeldSlots& held() const { return held_; }
  RowExchange dispatch(const Var& rows) { return {RowExchange::kDispatch, name_, rows, over_, dispatch_}; }
  RowExchange combine(const Var& rows) {
    return {RowExchange::kCombine, name_, rows, over_, {dispatch_.receive, dispatch_.send}};
  }

 private:
  std::string name_;
  Communicator& over_;
  HeldSlots held_;
  RowCounts dispatch_;
};

}  // namespace

Var swiglu_network(const Var& x, Parameter& gate, Parameter& up, Parameter& down, RowOffsets offsets) {
  return matmul(swiglu(matmul(x, gate, offsets), matmul(x, up, offsets)), down, offsets);
}

ExpertNetworks::ExpertNetworks(const ModelConfig& config, const ExpertGroup& group)
    : gate({group.experts, config.inner(), config.width}),
      up({group.experts, config.inner(), config.width}),
      down({group.experts, config.width, config.inner()}),
      name(group.name) {
  for (Parameter* matrix : {&gate, &up, &down}) matrix->by_expert = true;
  for (int64_t expert = 0; expert < group.experts; ++expert)
    labels.push_back(name + "/" + std::to_string(expert));
}

Var run_experts(std::vector<Sharded<ExpertNetworks>>& groups, const Var& slots, const SlotCounts& own,
                const std::vector<SlotCounts>& of_peers, bool again) {
  // All weights are in use until all rows are back: in backward, no gradient is exchanged between two exchanges of rows.
  std::vector<std::unique_ptr<ShardGroup::Use>> uses;
  for (Sharded<ExpertNetworks>& group : groups)
    uses.push_back(std::make_unique<ShardGroup::Use>(group.group));

  std::vector<int64_t> counts;
  for (const std::vector<int64_t>& of_group : own) counts.push_back(sum(of_group));
  std::vector<Var> rows = split(slots, offsets_of(counts));
  std::vector<std::optional<Dealt>> dealt(groups.size());
  std::vector<std::optional<RowExchange>> flights(groups.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!groups[i].group.dealt_over()) continue;
    HeldSlots of_group;
    for (const SlotCounts& peer : of_peers) of_group.push_back(peer[i]);
    flights[i] = dealt[i].emplace(groups[i].group, of_group).dispatch(rows[i]);
    book(groups[i].layer, rows[i], own[i]);
  }
  for (size_t i = 0; i < groups.size(); ++i) {
    if (flights[i]) rows[i] = std::move(*flights[i]).wait();
    const HeldSlots held = dealt[i] ? dealt[i]->held() : HeldSlots{own[i]};
    rows[i] = run_networks(groups[i].layer, rows[i], held, dealt[i].has_value(), again);
    if (dealt[i]) flights[i] = dealt[i]->combine(rows[i]);
  }
  for (size_t i = 0; i < groups.size(); ++i)
    if (flights[i]) rows[i] = std::move(*flights[i]).wait();
  return joined(rows);
}

}  // namespace tessera
