#pragma once
// Matrix products C = A B as the CPU kernels see them.

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/cpu_engine.h"
#include "runtime/dtype.h"

namespace tessera::kernels::cpu {

/// Element (i, j) is data[i * stride + j], or data[j * stride + i] when transposed.
struct Matrix {
  void* data;
  DType dtype;
  int64_t stride;
  bool transposed = false;
};

/// c[i, j] = sum_p a[i, p] b[p, j] for i < m, j < n, p < k.  c is not transposed.
struct Product {
  int64_t m, n, k;
  Matrix a, b, c;
  /// With the stride of c, which is f32 then and may be one of them: added to the complete sum_p one after the other.
  std::vector<const float*> sums{};
  bool past_caches = false;  ///< nobody reads c soon
};

/// The number of parts of at most most that cover count.
inline int64_t parts(int64_t count, int64_t most) { return (count + most - 1) / most; }

/// Calls body(product index, part, worker) on the threads of the stream for 0 <= part < parts_of(product).
template <class PartsOf, class Body>
void for_each_part(std::span<const Product> products, Stream stream, const PartsOf& parts_of,
                   const Body& body) {
  int64_t total = 0;
  for (const Product& product : products) total += parts_of(product);
  engine_of(stream).pool.run(total, [&](int64_t part, int worker) {
    size_t index = 0;
    for (int64_t here; part >= (here = parts_of(products[index])); ++index) part -= here;
    body(index, part, worker);
  });
}

}  // namespace tessera::kernels::cpu
