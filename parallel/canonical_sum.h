#pragma once
// The only adder across micro-batches and ranks: a binary tree over leaves 0, 1, 2, ... that depends on their number alone
// (docs/design.md, determinism).  Leaves are pushed in order; equal heights merge as they meet, like the carries of a
// binary counter; total() folds what is left from the right.

#include <utility>
#include <vector>

#include "runtime/tensor.h"

namespace tessera {

/// low + high, in place in whichever operand is not shared.
Tensor canonical_add(Tensor low, Tensor high);
inline double canonical_add(double low, double high) { return low + high; }

template <class Value>
class CanonicalSum {
 public:
  /// Leaves must come in order of their index.
  void push(Value leaf) {
    Partial top{0, std::move(leaf)};
    while (!stack_.empty() && stack_.back().height == top.height) {
      top = {top.height + 1, canonical_add(std::move(stack_.back().sum), std::move(top.sum))};
      stack_.pop_back();
    }
    stack_.push_back(std::move(top));
  }

  bool empty() const { return stack_.empty(); }

  /// The sum of all leaves; starts over.  Value() when there was none.
  Value total() {
    if (stack_.empty()) return Value();
    Value sum = std::move(stack_.back().sum);
    for (stack_.pop_back(); !stack_.empty(); stack_.pop_back())
      sum = canonical_add(std::move(stack_.back().sum), std::move(sum));
    return sum;
  }

 private:
  struct Partial {
    int height;
    Value sum;
  };
  std::vector<Partial> stack_;
};

}  // namespace tessera
