#include "parallel/canonical_sum.h"

#include "kernels/pointwise.h"

namespace tessera {

Tensor canonical_add(Tensor low, Tensor high) {
  const Tensor& target = low.sole_owner() ? low : high.sole_owner() ? high : Tensor::like(low);
  kernels::add(low, high, target, target.stream());
  return target;
}

}  // namespace tessera
