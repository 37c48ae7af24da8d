// Rules of rotary positions and attention.
#include "kernels/attention.h"

#include <cmath>

#include "autograd/functions.h"
#include "kernels/cached_attention.h"
#include "kernels/permute.h"
#include "kernels/rope.h"

namespace tessera {

Tensor rope_table(const Tensor& positions, int64_t head_dim, double base) {
  Tensor table = Tensor::empty({positions.count(), head_dim}, DType::f32, positions.stream());
  kernels::rope_table(positions, table, base, positions.stream());
  return table;
}

Var rope(const Var& x, const Tensor& table) {
  const Stream stream = x.stream();
  Tensor y = Tensor::like(x.value());
  kernels::rope_forward(x.value(), table, y, stream);
  return record("rope", y,
                {{x,
                  [table, stream](const Tensor& dy) {
                    Tensor dx = Tensor::like(dy);
                    kernels::rope_backward(dy, table, dx, stream);
                    return dx;
                  }}},
                {.bytes = 2 * x.value().bytes() + table.bytes()});
}

Var attention(const Var& q, const Var& k, const Var& v, std::span<const int64_t> segments) {
  const Stream stream = q.stream();
  const std::vector<int64_t> kept(segments.begin(), segments.end());
  TESSERA_CHECK(q.shape().rank() == 3, "attention: q must be [rows, heads, head_dim], got ", q.shape());
  const float scale = 1 / std::sqrt(static_cast<float>(q.shape()[2]));
  Tensor y = Tensor::like(q.value());
  Tensor log_sum = Tensor::empty({q.shape()[1], q.shape()[0]}, DType::f32, stream);
  kernels::attention_forward(q.value(), k.value(), v.value(), y, log_sum, {kept, scale}, stream);
  int64_t squares = 0;
  for (size_t i = 0; i + 1 < kept.size(); ++i) squares += (kept[i + 1] - kept[i]) * (kept[i + 1] - kept[i]);
  const int64_t flops = 2 * squares * q.shape()[1] * q.shape()[2];
  return record(
      "attention", y, {q, k, v},
      [q = q.value(), k = k.value(), v = v.value(), y, log_sum, kept, scale, stream](const Tensor& dy) {
        Tensor dq = Tensor::like(q), dk = Tensor::like(k), dv = Tensor::like(v);
        kernels::attention_backward({q, k, v, y, log_sum, dy, dq, dk, dv}, {kept, scale}, stream);
        return std::vector<Tensor>{dq, dk, dv};
      },
      {flops, 2 * flops, 4 * q.value().bytes()});
}

void remember(const SeenRows& seen, const Tensor& k, const Tensor& v, const Tensor& places) {
  TESSERA_CHECK(k.shape().rank() == 3 && seen.keys.shape().rank() == 3,
                "remember: k must be [rows, heads, head_dim], got ", k.shape(), " for keys ",
                seen.keys.shape());
  const auto flat = [](const Tensor& x) { return x.reshape({x.shape()[0], x.shape()[1] * x.shape()[2]}); };
  kernels::store_rows(flat(k), places, flat(seen.keys), k.stream());
  kernels::store_rows(flat(v), places, flat(seen.values), k.stream());
}

Tensor attend_to_seen(const Tensor& q, const SeenRows& seen, const Tensor& sequence, const Tensor& visible) {
  Tensor y = Tensor::like(q);
  kernels::cached_attention({q, seen.keys, seen.values, sequence, visible, y}, seen.capacity, q.stream());
  return y;
}

}  // namespace tessera
