#include "parallel/canonical_sum.h"

#include "kernels/pointwise.h"

namespace tessera {

Tensor canonical_add(Tensor low, Tensor high) {
  const Tensor& target = low.sole_owner() ? low : high.sole_owner() ? high : Tensor::like(low);
  kernels::add(low, high, target, target.stream());
  return target;
}

std::vector<CanonicalNode> canonical_nodes(int64_t first, int64_t end) {
  std::vector<CanonicalNode> nodes;
  while (first < end) {
    CanonicalNode node{first, 0};
    for (CanonicalNode wider = node; wider.is_left(); node = wider) {
      ++wider.height;
      if (wider.end() > end) break;
    }
    nodes.push_back(node);
    first = node.end();
  }
  return nodes;
}

}  // namespace tessera
