#include "parallel/canonical_sum.h"

#include "kernels/pointwise.h"

namespace tessera {

Tensor canonical_add(const Tensor& low, const Tensor& high) {
  kernels::add(low, high, low, low.stream());
  return low;
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
