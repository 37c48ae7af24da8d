#include "parallel/sharded.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "kernels/exact_norm.h"
#include "kernels/fill.h"
#include "kernels/pointwise.h"
#include "kernels/random_fill.h"
#include "parallel/collectives.h"
#include "runtime/random.h"
#include "runtime/stream.h"

namespace tessera {
namespace {

/// A trace range where there is a trace: meta streams have none.
class Range {
 public:
  Range(Stream stream, const char* name) {
    if (Trace* trace = trace_of(stream)) range_.emplace(*trace, name);
  }

 private:
  std::optional<TraceRange> range_;
};

}  // namespace

AdamW adamw_over(const std::vector<ShardPiece>& pieces, const AdamWConfig& config) {
  std::vector<Optimized> ranges;
  for (const ShardPiece& piece : pieces)
    ranges.push_back({piece.value, piece.grad, piece.parameter->decays(), piece.parameter->trained});
  return AdamW(std::move(ranges), config);
}

void ShardGroup::bind(std::vector<Parameter*> parameters, Communicator& communicator, Stream stream,
                      ShardOptions options, uint64_t seed, float deviation) {
  TESSERA_CHECK(!communicator_, "sharded: the group of ", parameters_.empty() ? "" : parameters_[0]->name,
                " is bound already");
  int64_t count = 0;
  for (const Parameter* parameter : parameters) {
    TESSERA_CHECK(!parameter->name.empty(), "sharded: a parameter of shape ", parameter->shape,
                  " has no name");
    count += parameter->shape.count();
  }
  parameters_ = std::move(parameters);
  communicator_ = &communicator;
  stream_ = stream;
  options_ = options;
  share_ = (count + communicator.size() - 1) / communicator.size();
  shard_ = Tensor::zeros({share_}, DType::f32, stream);
  shard_grad_ = Tensor::zeros({share_}, DType::f32, stream);
  whole_ = Tensor::empty({share_ * communicator.size()}, options.compute, stream);
  whole_.discard();
  for (const ShardPiece& piece : pieces()) {
    switch (piece.parameter->init) {
      case Init::normal:
        kernels::fill_normal(piece.value, {seed, Purpose(piece.parameter->name), piece.begin, deviation},
                             stream);
        break;
      case Init::zeros:
        break;
      case Init::ones:
        kernels::fill(piece.value, 1, stream);
        break;
    }
  }
}

std::vector<ShardPiece> ShardGroup::pieces() const {
  std::vector<ShardPiece> pieces;
  const int64_t shard_begin = communicator_->rank() * share_, shard_end = shard_begin + share_;
  int64_t offset = 0;
  for (const Parameter* parameter : parameters_) {
    const int64_t begin = std::max(offset, shard_begin),
                  end = std::min(offset + parameter->shape.count(), shard_end);
    if (begin < end) {
      const Shape shape{end - begin};
      pieces.push_back({parameter, begin - offset, shard_.slice(begin - shard_begin, shape),
                        shard_grad_.slice(begin - shard_begin, shape)});
    }
    offset += parameter->shape.count();
  }
  return pieces;
}

void ShardGroup::start_gather() {
  if (whole_valid_ || arriving_whole_) return;
  const Range range(stream_, "gather_parameters");
  whole_.restore();
  Tensor part = shard_;
  if (options_.compute != DType::f32) {
    part = Tensor::empty({share_}, options_.compute, stream_);
    kernels::cast(shard_, part, stream_);
  }
  arriving_whole_ = communicator_->all_gather(part, whole_, stream_);
}

void ShardGroup::gather(ShardGroup* neighbour) {
  start_gather();
  if (neighbour) neighbour->start_gather();
  if (arriving_whole_) {
    const Range range(stream_, "wait_for_parameters");
    whole_ = std::move(*arriving_whole_).wait(stream_);
    arriving_whole_.reset();
    whole_valid_ = true;
  }
  int64_t offset = 0;
  for (Parameter* parameter : parameters_) {
    parameter->value = whole_.slice(offset, parameter->shape);
    offset += parameter->shape.count();
  }
}

void ShardGroup::drop() {
  for (Parameter* parameter : parameters_) parameter->value = Tensor();
  if (options_.reshard_after_forward) invalidate();
}

void ShardGroup::invalidate() {
  whole_.discard();
  whole_valid_ = false;
}

void ShardGroup::make_room() {
  whole_grad_ = Tensor::empty(whole_.shape(), DType::f32, stream_);
  int64_t offset = 0;
  for (Parameter* parameter : parameters_) {
    parameter->grad = whole_grad_.slice(offset, parameter->shape);
    parameter->has_grad = parameter->room_taken = false;
    offset += parameter->shape.count();
  }
}

void ShardGroup::reduce() {
  TESSERA_CHECK(communicator_->rank() < present_, "sharded: backward reached the group of ",
                parameters_[0]->name, " outside a round, or a second time in it");
  int64_t offset = 0;
  for (Parameter* parameter : parameters_) {
    if (!parameter->has_grad) kernels::fill(parameter->grad, 0, stream_);
    parameter->grad = Tensor();
    offset += parameter->shape.count();
  }
  kernels::fill(whole_grad_.slice(offset, {whole_grad_.count() - offset}), 0, stream_);
  exchange(std::exchange(whole_grad_, Tensor()));
  drop();
}

void ShardGroup::exchange(Tensor flat_grad) {
  const auto ranks = static_cast<size_t>(communicator_->size());
  const int64_t present = std::exchange(present_, 0);  // a round is used up by one exchange
  if (ranks == 1 && present == 1) {
    sum_.push(std::move(flat_grad));
    return;
  }
  {
    const Range range(stream_, "exchange_gradients");
    complete_exchange();  // of the round before
    const std::vector<int64_t> send_counts(ranks, flat_grad.count() / communicator_->size());
    std::vector<int64_t> receive_counts(ranks, 0);
    std::fill_n(receive_counts.begin(), present, share_);
    const Tensor room = Tensor::empty({present * share_}, DType::f32, stream_);
    arriving_shards_ =
        communicator_->all_to_all(std::move(flat_grad), send_counts, room, receive_counts, stream_);
  }
  if (next_) next_->complete_exchange();
}

void ShardGroup::complete_exchange() {
  if (!arriving_shards_) return;
  const Range range(stream_, "wait_for_gradients");
  const Tensor shards = std::move(*arriving_shards_).wait(stream_);
  arriving_shards_.reset();
  for (int64_t begin = 0; begin < shards.count(); begin += share_) {
    // A copy, since a view left in the sum would keep all shards in memory until its partner comes.
    Tensor leaf = Tensor::empty({share_}, DType::f32, stream_);
    copy(shards.slice(begin, {share_}), leaf);
    sum_.push(std::move(leaf));
  }
}

void ShardGroup::idle_forward() {
  gather(next_);
  drop();
}

void ShardGroup::idle_backward() {
  gather(previous_);
  exchange(Tensor::empty({0}, DType::f32, stream_));
  drop();
}

void ShardGroup::finish_step() {
  complete_exchange();
  const Tensor sum = sum_.total();
  if (sum)
    copy(sum, shard_grad_);
  else
    kernels::fill(shard_grad_, 0, stream_);
}

ShardGroup::Use::Use(ShardGroup& group) : group_(group) {
  group.gather(group.next_);
  if (Tape* tape = Tape::active()) tape->at_backward([&group] { group.reduce(); });
}

ShardGroup::Use::~Use() {
  group_.drop();
  if (Tape* tape = Tape::active()) {
    tape->at_backward([&group = group_] {
      group.gather(group.previous_);
      group.make_room();
    });
  }
}

Shards::Shards(std::vector<ShardGroup*> groups, Communicator& communicator)
    : groups_(std::move(groups)), communicator_(&communicator) {
  for (size_t i = 0; i < groups_.size(); ++i)
    groups_[i]->set_neighbours(i > 0 ? groups_[i - 1] : nullptr,
                               i + 1 < groups_.size() ? groups_[i + 1] : nullptr);
}

std::vector<ShardPiece> Shards::pieces() const {
  std::vector<ShardPiece> all;
  for (const ShardGroup* group : groups_)
    for (ShardPiece& piece : group->pieces()) all.push_back(std::move(piece));
  return all;
}

void Shards::begin_round(int present) {
  TESSERA_CHECK(0 <= present && present <= communicator_->size(), "sharded: a round holds 0 to ",
                communicator_->size(), " leaves, got ", present);
  for (ShardGroup* group : groups_) group->begin_round(present);
}

void Shards::idle_forward() {
  for (ShardGroup* group : groups_) group->idle_forward();
}

void Shards::idle_round() {
  idle_forward();
  for (size_t i = groups_.size(); i-- > 0;) groups_[i]->idle_backward();
}

void Shards::finish_step() {
  for (ShardGroup* group : groups_) group->finish_step();
}

void Shards::invalidate() {
  for (ShardGroup* group : groups_) group->invalidate();
}

namespace {

/// Norms of vectors, of each of which this rank holds some elements.
std::vector<double> norms(std::span<const std::vector<Tensor>> vectors, Communicator& communicator) {
  // Comparison alone would drop a NaN on either side.
  auto larger = [](double a, double b) { return std::isnan(a) || a > b ? a : b; };
  std::vector<double> largest;
  for (const std::vector<Tensor>& parts : vectors) {
    double own = 0;
    for (const Tensor& part : parts) own = larger(kernels::largest_magnitude(part, part.stream()), own);
    largest.push_back(own);
  }
  const std::vector<double> all = all_gather_values(communicator, largest);
  for (size_t i = 0; i < all.size(); ++i)
    largest[i % vectors.size()] = larger(all[i], largest[i % vectors.size()]);

  const auto is_summed = [](double value) { return value > 0 && !std::isinf(value); };
  std::vector<unsigned __int128> own(vectors.size(), 0), total(vectors.size(), 0);
  for (size_t i = 0; i < vectors.size(); ++i)
    for (const Tensor& part : vectors[i])
      if (is_summed(largest[i]))
        own[i] += kernels::scaled_squares(part, static_cast<float>(largest[i]), part.stream());
  const std::vector<std::byte> gathered = all_gather_bytes(communicator, std::as_bytes(std::span(own)));
  for (size_t i = 0; i * sizeof own[0] < gathered.size(); ++i) {
    unsigned __int128 squares;
    std::memcpy(&squares, gathered.data() + i * sizeof squares, sizeof squares);
    total[i % vectors.size()] += squares;
  }
  for (size_t i = 0; i < vectors.size(); ++i)
    if (is_summed(largest[i])) largest[i] *= std::sqrt(static_cast<double>(total[i]) * 0x1p-52);
  return largest;
}

}  // namespace

double Shards::gradient_norm() const {
  std::vector<Tensor> own;
  for (const ShardGroup* group : groups_) own.push_back(group->gradient());
  return norms({&own, 1}, *communicator_)[0];
}

std::vector<double> Shards::gradient_norms(std::span<const Parameter* const> parameters) const {
  std::vector<std::vector<Tensor>> own(parameters.size());
  for (const ShardPiece& piece : pieces()) {
    const auto place = std::find(parameters.begin(), parameters.end(), piece.parameter);
    if (place != parameters.end()) own[static_cast<size_t>(place - parameters.begin())].push_back(piece.grad);
  }
  return norms(own, *communicator_);
}

}  // namespace tessera
