#include "parallel/sharded.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/fill.h"
#include "kernels/pointwise.h"
#include "kernels/random_fill.h"
#include "parallel/traced.h"
#include "runtime/meta_engine.h"
#include "runtime/random.h"

namespace tessera {
AdamW adamw_over(const std::vector<ShardPiece>& pieces, const AdamWConfig& config) {
  std::vector<Optimized> ranges;
  for (const ShardPiece& piece : pieces)
    ranges.push_back(
        {piece.value, piece.grad, piece.parameter->decays(), piece.parameter->trained, piece.rounded});
  const MemoryFor use(MemoryUse::moments, pieces.empty() ? Stream() : pieces[0].value.stream());
  return AdamW(std::move(ranges), config);
}

void ShardGroup::bind(std::vector<Parameter*> parameters, const Mesh& mesh, Stream stream,
                      ShardOptions options, uint64_t seed, float deviation) {
  TESSERA_CHECK(!mesh_, "sharded: the group of ", name_, " is bound already");
  for (const Parameter* parameter : parameters)
    TESSERA_CHECK(!parameter->name.empty(), "sharded: a parameter of shape ", parameter->shape,
                  " has no name");
  const int64_t experts = mesh.expert().size();
  const bool dealt = experts > 1 && std::ranges::all_of(parameters, [&](const Parameter* parameter) {
                       return parameter->by_expert && parameter->shape[0] % experts == 0;
                     });
  parameters_ = std::move(parameters);
  if (!parameters_.empty()) name_ = parameters_[0]->name.substr(0, parameters_[0]->name.rfind('.'));
  mesh_ = &mesh;
  communicator_ = dealt ? &mesh.shard() : &mesh.replica();
  dealt_over_ = dealt ? &mesh.expert() : nullptr;
  leaves_each_ = dealt ? experts : 1;
  stream_ = stream;
  options_ = options;
  int64_t count = 0;
  for (Parameter* parameter : parameters_) {
    Place place{count, 0, parameter->shape};
    if (dealt) {
      place.shape = parameter->shape.with(0, parameter->shape[0] / experts);
      place.begin = mesh.expert().rank() * place.shape.count();
      parameter->again.assign(static_cast<size_t>(experts - 1), *parameter);
    }
    places_.push_back(place);
    count += place.shape.count();
  }
  // The exchange between replicas cuts a share once more.
  const int64_t parts = communicator_->size() * mesh.across().size();
  share_ = (count + parts - 1) / parts * mesh.across().size();
  const auto zeros_for = [&](MemoryUse purpose) {
    const MemoryFor use(purpose, stream);
    return Tensor::zeros({share_}, DType::f32, stream);
  };
  shard_ = zeros_for(MemoryUse::parameters);
  shard_grad_ = zeros_for(MemoryUse::gradients);
  const MemoryFor use(MemoryUse::communication, stream);
  whole_valid_ = whole_is_shard();
  whole_ = whole_valid_ ? shard_ : Tensor::empty({share_ * communicator_->size()}, options.compute, stream);
  invalidate();
  draw(seed, deviation);
}

void ShardGroup::draw(uint64_t seed, float deviation) {
  for (const ShardPiece& piece : pieces()) {
    switch (piece.parameter->init) {
      case Init::normal:
        kernels::fill_normal(piece.value, {seed, Purpose(piece.parameter->name), piece.begin, deviation},
                             stream_);
        break;
      case Init::zeros:
        break;
      case Init::ones:
        kernels::fill(piece.value, 1, stream_);
        break;
    }
  }
}

std::vector<ShardPiece> ShardGroup::pieces() const {
  std::vector<ShardPiece> pieces;
  const int64_t shard_begin = communicator_->rank() * share_, shard_end = shard_begin + share_;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Place& place = places_[i];
    const int64_t begin = std::max(place.offset, shard_begin),
                  end = std::min(place.offset + place.shape.count(), shard_end);
    if (begin >= end) continue;
    const auto own = [&](const Tensor& shard) { return shard.slice(begin - shard_begin, {end - begin}); };
    const bool rounds = whole_is_kept() && !whole_is_shard();
    pieces.push_back({parameters_[i], place.begin + begin - place.offset, own(shard_), own(shard_grad_),
                      rounds ? own(whole_) : Tensor()});
  }
  return pieces;
}

LeafRange ShardGroup::leaves_of_member(int member) const {
  const int64_t first = std::min(round_.first + member * leaves_each_, round_.end);
  return {first, std::min(first + leaves_each_, round_.end)};
}

void ShardGroup::begin_round(LeafRange leaves) {
  round_ = leaves;
  round_is_open_ = true;
}

void ShardGroup::start_gather() {
  if (whole_valid_ || arriving_whole_) return;
  const TracedRange range(stream_, "gather_parameters");
  const MemoryFor use(MemoryUse::communication, stream_);
  whole_.restore();
  Tensor part = shard_;
  if (options_.compute != DType::f32) {
    part = alone() ? whole_ : Tensor::empty({share_}, options_.compute, stream_);
    kernels::cast(shard_, part, stream_);
  }
  whole_valid_ = alone();
  if (whole_valid_) return;
  const About about(*communicator_, "gather " + name_);
  arriving_whole_ = communicator_->all_gather(part, whole_, stream_);
}

ShardGroup* ShardGroup::gathered_next() {
  if (!traffic_) return nullptr;
  auto& [gathers, at, in_round, reducing] = *traffic_;
  if (at == gathers.size() && !in_round && !gathers.empty() && gathers[0] == this) at = 0;
  if (at == gathers.size() || gathers[at] != this) {
    gathers.resize(at);
    gathers.push_back(this);
  }
  ++at;
  return at < gathers.size() ? gathers[at] : nullptr;
}

void ShardGroup::gather() {
  start_gather();
  if (ShardGroup* next = gathered_next()) next->start_gather();
  if (arriving_whole_) {
    const TracedRange range(stream_, "wait_for_parameters");
    whole_ = std::move(*arriving_whole_).wait(stream_);
    arriving_whole_.reset();
    whole_valid_ = true;
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor value = whole_.slice(places_[i].offset, places_[i].shape);
    for (int64_t leaf = 0; leaf < leaves_each_; ++leaf) {
      Parameter& parameter = parameters_[i]->of_leaf(static_cast<size_t>(leaf));
      parameter.value = value;
      parameter.trained = parameters_[i]->trained;
    }
  }
}

void ShardGroup::drop() {
  for (Parameter* parameter : parameters_)
    for (int64_t leaf = 0; leaf < leaves_each_; ++leaf)
      parameter->of_leaf(static_cast<size_t>(leaf)).value = Tensor();
  if (options_.reshard_after_forward) invalidate();
}

void ShardGroup::stepped() {
  if (!whole_is_kept()) invalidate();
}

void ShardGroup::invalidate() {
  if (whole_is_shard()) return;
  if (!whole_is_kept()) whole_.discard();
  whole_valid_ = false;
}

/// In a group that nobody shares, a leaf is added to the sums that it merges with where rules compute it, and the first one of a
/// step lies where the step's gradient will be.
Tensor ShardGroup::room_of_leaf(int64_t leaf) {
  if (alone() && leaves_each_ == 1 && leaf < round_.end) {
    carry_ = sum_.take_carry(leaf);
    if (!carry_.sums.empty()) return carry_.sums.back();
    if (sum_.empty() && mesh_->across().size() == 1) return shard_grad_;
  }
  return Tensor::empty(whole_.shape(), DType::f32, stream_);
}

void ShardGroup::make_room() {
  const MemoryFor use(MemoryUse::gradients, stream_);
  carry_ = {};
  whole_grads_.clear();
  const int64_t first = leaves_of_member(communicator_->rank()).first;
  for (int64_t leaf = 0; leaf < leaves_each_; ++leaf) {
    const Tensor& flat = whole_grads_.emplace_back(room_of_leaf(first + leaf));
    for (size_t i = 0; i < parameters_.size(); ++i) {
      Parameter& parameter = parameters_[i]->of_leaf(static_cast<size_t>(leaf));
      const auto own = [&](const Tensor& all) { return all.slice(places_[i].offset, places_[i].shape); };
      parameter.sums.clear();
      if (parameter.uses <= 1)  // gradients of several uses are added to each other first
        for (const Tensor& sum : carry_.sums) parameter.sums.push_back(own(sum));
      parameter.grad = parameter.sums.empty() == carry_.sums.empty()
                           ? own(flat)
                           : Tensor::empty(places_[i].shape, DType::f32, stream_);
      parameter.has_grad = parameter.room_taken = false;
      parameter.uses = 0;
    }
  }
}

/// What rules left out of whole_grads_[leaf].
void ShardGroup::complete_leaf(int64_t leaf) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& parameter = parameters_[i]->of_leaf(static_cast<size_t>(leaf));
    Tensor grad = std::exchange(parameter.grad, Tensor());
    const bool added = !std::exchange(parameter.sums, {}).empty();
    if (parameter.has_grad && added == !carry_.sums.empty()) continue;
    if (added) grad = Tensor::like(grad);
    if (!parameter.has_grad) kernels::fill(grad, 0, stream_);
    for (const Tensor& all : carry_.sums) {
      const Tensor sum = all.slice(places_[i].offset, places_[i].shape);
      kernels::add(sum, grad, sum, stream_);
      grad = sum;
    }
  }
  const Tensor& flat = whole_grads_[static_cast<size_t>(leaf)];
  const int64_t used = places_.back().offset + places_.back().shape.count();
  kernels::fill(flat.slice(used, {flat.count() - used}), 0, stream_);
}

void ShardGroup::reduce() {
  TESSERA_CHECK(round_is_open_, "sharded: backward reached the group of ", name_,
                " outside a round, or a second time in it");
  const LeafRange own = leaves_of_member(communicator_->rank());
  for (int64_t leaf = 0; leaf < leaves_each_; ++leaf) complete_leaf(leaf);
  if (!carry_.sums.empty()) {
    sum_.push(carry_.node, std::move(whole_grads_[0]));
    round_is_open_ = false;
  } else {
    CanonicalSum<Tensor> sum;
    for (int64_t leaf = own.first; leaf < own.end; ++leaf)
      sum.push({leaf, 0}, std::move(whole_grads_[static_cast<size_t>(leaf - own.first)]));
    exchange(sum.take());
  }
  carry_ = {};
  whole_grads_.clear();
  drop();
}

void ShardGroup::exchange(std::vector<Tensor> nodes) {
  round_is_open_ = false;
  {
    const TracedRange range(stream_, "exchange_gradients");
    std::vector<LeafRange> leaves;
    for (int member = 0; member < communicator_->size(); ++member) leaves.push_back(leaves_of_member(member));
    complete_exchange();  // of the round before
    const About about(*communicator_, "exchange gradients of " + name_);
    arriving_nodes_.start(*communicator_, std::move(nodes), std::move(leaves), share_, stream_);
  }
  if (communicator_->size() == 1) complete_exchange();
  if (!traffic_) return;
  ShardGroup* before = std::exchange(traffic_->reducing, this);
  if (before && before != this) before->complete_exchange();
}

void ShardGroup::complete_exchange() {
  if (!arriving_nodes_.under_way()) return;
  const TracedRange range(stream_, "wait_for_gradients");
  arriving_nodes_.finish(sum_, stream_);
}

void ShardGroup::idle_forward() {
  gather();
  drop();
}

void ShardGroup::idle_backward() {
  gather();
  exchange({});
  drop();
}

void ShardGroup::send_to_replicas(int64_t leaves) {
  complete_exchange();
  Communicator& across = mesh_->across();
  if (across.size() == 1) return;
  const TracedRange range(stream_, "exchange_replicas");
  std::vector<LeafRange> theirs;
  for (int replica = 0; replica < across.size(); ++replica)
    theirs.push_back(mesh_->leaves_of(replica, leaves));
  const About about(across, "exchange replicas of " + name_);
  arriving_replicas_.start(across, sum_.take(), std::move(theirs), share_ / across.size(), stream_);
}

void ShardGroup::sum_over_replicas() {
  if (!arriving_replicas_.under_way()) return;
  const TracedRange range(stream_, "wait_for_replicas");
  arriving_replicas_.finish(sum_, stream_);
  const About about(mesh_->across(), "sum of replicas of " + name_);
  arriving_sum_ = mesh_->across().all_gather(sum_.total(), shard_grad_, stream_);
}

void ShardGroup::finish_step() {
  if (arriving_sum_) {
    const TracedRange range(stream_, "wait_for_replicas");
    shard_grad_ = std::move(*arriving_sum_).wait(stream_);
    arriving_sum_.reset();
  } else if (const Tensor sum = sum_.total()) {
    copy(sum, shard_grad_);
  } else {
    kernels::fill(shard_grad_, 0, stream_);
  }
}

ShardGroup::Use::Use(ShardGroup& group) : group_(group) {
  group.gather();
  if (Tape* tape = Tape::active()) tape->at_backward([&group] { group.reduce(); });
}

ShardGroup::Use::~Use() {
  Tape* tape = Tape::active();
  if (!tape || !tape->runs_again()) group_.drop();  // else backward comes at once
  if (tape) {
    tape->at_backward([&group = group_] {
      group.gather();
      group.make_room();
    });
  }
}

}  // namespace tessera
