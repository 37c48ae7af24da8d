#include "parallel/shards.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/exact_norm.h"
#include "parallel/collectives.h"

namespace tessera {

Shards::Shards(std::vector<ShardGroup*> groups, std::unique_ptr<const Mesh> mesh)
    : groups_(std::move(groups)), mesh_(std::move(mesh)), traffic_(std::make_unique<ShardTraffic>()) {
  for (ShardGroup* group : groups_) group->join(*traffic_);
}

std::vector<ShardPiece> Shards::pieces() const {
  std::vector<ShardPiece> all;
  for (const ShardGroup* group : groups_)
    for (ShardPiece& piece : group->pieces()) all.push_back(std::move(piece));
  return all;
}

void Shards::begin_round(int64_t round, int64_t leaves) {
  TESSERA_CHECK(0 <= round && round < mesh_->rounds(leaves), "sharded: a step of ", leaves, " leaves has ",
                mesh_->rounds(leaves), " rounds in this replica, got round ", round);
  leaves_ = leaves;
  traffic_->at = 0;
  traffic_->in_round = true;
  for (ShardGroup* group : groups_) group->begin_round(mesh_->round_of_this_replica(round, leaves));
}

void Shards::idle_forward() {
  for (ShardGroup* group : groups_) group->idle_forward();
}

void Shards::idle_round() {
  idle_forward();
  for (size_t i = groups_.size(); i-- > 0;) groups_[i]->idle_backward();
}

void Shards::finish_step() {
  traffic_->in_round = false;
  traffic_->reducing = nullptr;
  for (ShardGroup* group : groups_) group->send_to_replicas(leaves_);
  for (ShardGroup* group : groups_) group->sum_over_replicas();
  for (ShardGroup* group : groups_) group->finish_step();
}

void Shards::stepped() {
  for (ShardGroup* group : groups_) group->stepped();
}

void Shards::invalidate() {
  for (ShardGroup* group : groups_) group->invalidate();
}

namespace {

/// Comparison alone would drop a NaN on either side.
template <class T>
T larger(T a, T b) {
  return std::isnan(a) || a > b ? a : b;
}

/// Parts of the norm of a vector, of which this rank holds some elements.
kernels::NormParts parts_of(const std::vector<Tensor>& vector, int exponent) {
  kernels::NormParts sum;
  for (const Tensor& part : vector) {
    const kernels::NormParts of_part = kernels::norm_parts(part, exponent, part.stream());
    sum.largest = larger(of_part.largest, sum.largest);
    sum.squares += of_part.squares;
  }
  return sum;
}

/// Norms of vectors, of each of which this rank holds some elements.  expected: exponents of their largest elements, which save a second
/// pass where they are right, as they are afterwards; the same number.
std::vector<double> norms(std::span<const std::vector<Tensor>> vectors, std::span<int> expected,
                          Communicator& communicator) {
  std::vector<kernels::NormParts> own;
  std::vector<double> largest;
  for (size_t i = 0; i < vectors.size(); ++i) {
    own.push_back(parts_of(vectors[i], expected[i]));
    largest.push_back(own[i].largest);
  }
  const std::vector<double> all = all_gather_values(communicator, largest);
  for (size_t i = 0; i < all.size(); ++i)
    largest[i % vectors.size()] = larger(all[i], largest[i % vectors.size()]);

  const auto is_summed = [](double value) { return value > 0 && !std::isinf(value); };
  std::vector<unsigned __int128> squares(vectors.size(), 0), total(vectors.size(), 0);
  for (size_t i = 0; i < vectors.size(); ++i) {
    if (!is_summed(largest[i])) continue;
    const int exponent = kernels::norm_exponent(static_cast<float>(largest[i]));
    if (std::exchange(expected[i], exponent) != exponent) own[i] = parts_of(vectors[i], exponent);
    squares[i] = own[i].squares;
  }
  const std::vector<std::byte> gathered = all_gather_bytes(communicator, std::as_bytes(std::span(squares)));
  for (size_t i = 0; i * sizeof squares[0] < gathered.size(); ++i) {
    unsigned __int128 part;
    std::memcpy(&part, gathered.data() + i * sizeof part, sizeof part);
    total[i % vectors.size()] += part;
  }
  for (size_t i = 0; i < vectors.size(); ++i)
    if (is_summed(largest[i])) largest[i] = kernels::norm_from(total[i], expected[i]);
  return largest;
}

}  // namespace

double Shards::gradient_norm() const {
  std::vector<Tensor> own;
  for (const ShardGroup* group : groups_) own.push_back(group->gradient());
  return norms({&own, 1}, {&norm_exponent_, 1}, mesh_->replica())[0];
}

std::vector<double> Shards::gradient_norms(std::span<const Parameter* const> parameters) const {
  std::vector<std::vector<Tensor>> own(parameters.size());
  for (const ShardPiece& piece : pieces()) {
    const auto place = std::find(parameters.begin(), parameters.end(), piece.parameter);
    if (place != parameters.end()) own[static_cast<size_t>(place - parameters.begin())].push_back(piece.grad);
  }
  std::vector<int> unknown(own.size(), 0);
  return norms(own, unknown, mesh_->replica());
}

}  // namespace tessera
