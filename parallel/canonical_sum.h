#pragma once
// The only adder across micro-batches and ranks: a binary tree over leaves 0, 1, 2, ... that depends on their number alone
// (docs/design.md, determinism).  Leaves are pushed in order; siblings merge as they meet, like the carries of a binary
// counter; total() folds what is left from the right.
//
// A sum of tensors lies where its first leaf lay.
//
// Whoever holds some consecutive leaves can merge them into the nodes of the tree that cover them (take()), and whoever gets the
// nodes of all leaves in order has the same sum.

#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/tensor.h"

namespace tessera {

/// low + high, in the memory of low.
Tensor canonical_add(const Tensor& low, const Tensor& high);
inline double canonical_add(double low, double high) { return low + high; }

/// A node of the tree: leaves [first, first + 2^height), where 2^height divides first.
struct CanonicalNode {
  int64_t first = 0;
  int height = 0;

  int64_t end() const { return first + (int64_t{1} << height); }
  bool is_left() const { return (first >> height) % 2 == 0; }
  friend bool operator==(const CanonicalNode&, const CanonicalNode&) = default;
};

/// The fewest nodes that cover leaves [first, end), in order.
std::vector<CanonicalNode> canonical_nodes(int64_t first, int64_t end);

template <class Value>
class CanonicalSum {
 public:
  /// The leaf after the last one, or leaf 0.
  void push(Value leaf) { push({stack_.empty() ? 0 : stack_.back().node.end(), 0}, std::move(leaf)); }

  /// The node after the last one.  Throws Error when leaves would be missing or come twice.
  void push(CanonicalNode node, Value sum) {
    TESSERA_CHECK(stack_.empty() || stack_.back().node.end() == node.first, "canonical_sum: leaf ",
                  node.first, " cannot follow leaf ", stack_.back().node.end() - 1);
    while (is_sibling_of(node)) {
      node = {stack_.back().node.first, node.height + 1};
      sum = canonical_add(stack_.back().sum, sum);
      stack_.pop_back();
    }
    stack_.push_back({node, std::move(sum)});
  }

  bool empty() const { return stack_.empty(); }

  /// What one more leaf merges with, the nearest first, and the node that comes of it.
  struct Carry {
    CanonicalNode node;
    std::vector<Value> sums;
  };
  /// For whoever adds the next leaf to them himself, one after the other, and pushes the node.
  Carry take_carry(int64_t leaf) {
    Carry carry{{leaf, 0}, {}};
    for (; is_sibling_of(carry.node); stack_.pop_back()) {
      carry.node = {stack_.back().node.first, carry.node.height + 1};
      carry.sums.push_back(std::move(stack_.back().sum));
    }
    return carry;
  }

  /// The sums of canonical_nodes() over the leaves; starts over.
  std::vector<Value> take() {
    std::vector<Value> sums;
    for (Partial& partial : stack_) sums.push_back(std::move(partial.sum));
    stack_.clear();
    return sums;
  }

  /// The sum of all leaves; starts over.  Value() when there was none.
  Value total() {
    if (stack_.empty()) return Value();
    Value sum = std::move(stack_.back().sum);
    for (stack_.pop_back(); !stack_.empty(); stack_.pop_back()) sum = canonical_add(stack_.back().sum, sum);
    return sum;
  }

 private:
  struct Partial {
    CanonicalNode node;
    Value sum;
  };
  /// The last node, of the one after it.
  bool is_sibling_of(const CanonicalNode& node) const {
    return !stack_.empty() && stack_.back().node.is_left() && stack_.back().node.height == node.height;
  }
  std::vector<Partial> stack_;
};

}  // namespace tessera
