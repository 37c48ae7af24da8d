#include "kernels/embedding.h"

#include "kernels/rows.cuh"

namespace tessera::kernels {

template <>
void embedding_forward<Backend::cuda>(const Tensor& ids, const Tensor& table, const Tensor& y,
                                      Stream stream) {
  copy_rows("embedding_forward", table, ids, y, stream);
}

// The rows of each id, found by a counting sort, are summed by one block: every element of the table is
// written once.
template <>
void embedding_backward<Backend::cuda>(const Tensor& ids, const Tensor& dy, const Tensor& dtable,
                                       Stream stream) {
  const RowSlots of_id{Tensor::empty({dtable.shape()[0] + 1}, DType::i32, stream), Tensor::like(ids)};
  invert<Backend::cuda>(ids, of_id.offsets, of_id.slots, stream);
  sum_rows("embedding_backward", dy, nullptr, of_id, dtable, stream);
}

}  // namespace tessera::kernels
