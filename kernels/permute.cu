#include "kernels/permute.h"

#include <algorithm>
#include <vector>

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"
#include "kernels/rows.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

/// The slots of one column each for the blocks of one y.
struct Picked {
  const int32_t *index, *columns;
  int64_t rows, cols;

  /// Calls body(slot, element of the matrix) for the thread's slot, if there is one.
  template <class Body>
  __device__ void visit(const Body& body) const {
    const int col = blockIdx.y;
    const int slot = columns[col] + blockIdx.x * kThreads + threadIdx.x;
    if (slot >= columns[col + 1]) return;
    const int32_t row = index[slot];
    require(0 <= row && row < rows);
    body(slot, row * cols + col);
  }
};

__global__ void __launch_bounds__(kThreads)
    pick_elements(Picked picked, const float* __restrict__ x, float* __restrict__ y) {
  picked.visit([=](int64_t slot, int64_t element) { y[slot] = x[element]; });
}

__global__ void __launch_bounds__(kThreads)
    put_elements(Picked picked, const float* __restrict__ dy, float* __restrict__ dx) {
  picked.visit([=](int64_t slot, int64_t element) { dx[element] = dy[slot]; });
}

/// Runs pick_elements or put_elements over all columns.
void launch_picked(const char* name, void (*kernel)(Picked, const float*, float*), const Tensor& index,
                   std::span<const int64_t> columns, int64_t rows, const float* from, float* to,
                   Stream stream) {
  const int64_t cols = std::ssize(columns) - 1;
  int64_t longest = 0;
  for (int64_t col = 0; col < cols; ++col) longest = std::max(longest, columns[col + 1] - columns[col]);
  const std::vector<int32_t> begins(columns.begin(), columns.end());
  const Tensor on_device = Tensor::from(begins, {std::ssize(begins)}, stream);
  launch(name, kernel, {{blocks_for(longest, kThreads), static_cast<unsigned>(cols)}, kThreads}, stream,
         Picked{index.data<int32_t>(), on_device.data<int32_t>(), rows, cols}, from, to);
}

template <class T>
struct CombineBackwardRows {
  const T* x;  ///< may be null, as dgates
  const float* gates;
  const int32_t* index;
  const T* dy;
  T* dx;
  float* dgates;
  int64_t slots, rows, width;
};

/// One warp takes one slot, in vectors of N columns.
template <bool kVectors, class T>
__global__ void __launch_bounds__(kThreads) combine_backward_rows(CombineBackwardRows<T> a) {
  constexpr int N = kVectorElements<T>;
  const int64_t slot = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  const bool present = slot < a.slots;
  const int32_t row = present ? a.index[slot] : 0;
  require(!present || (0 <= row && row < a.rows));
  const float gate = present && a.gates ? a.gates[slot] : 1;
  float dot = 0;
  for (int64_t col = threadIdx.x % kWarp * N; present && col < a.width; col += kWarp * N) {
    float x[N], dy[N];
    load<kVectors>(a.dy + row * a.width + col, a.width - col, dy);
    if (a.dgates) {
      load<kVectors>(a.x + slot * a.width + col, a.width - col, x);
#pragma unroll
      for (int n = 0; n < N; ++n) dot = fmaf(dy[n], x[n], dot);
    }
#pragma unroll
    for (int n = 0; n < N; ++n) dy[n] *= gate;
    store<kVectors>(a.dx + slot * a.width + col, a.width - col, dy);
  }
  if (a.dgates) {
    dot = warp_reduce(dot, Sum{});
    if (present && threadIdx.x % kWarp == 0) a.dgates[slot] = dot;
  }
}

}  // namespace

template <>
void gather<Backend::cuda>(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  copy_rows("gather", x, index, y, stream);
}

template <>
void store_rows<Backend::cuda>(const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  place_rows("store_rows", x, index, y, stream);
}

template <>
void pick<Backend::cuda>(const Tensor& x, const Tensor& index, std::span<const int64_t> columns,
                         const Tensor& y, Stream stream) {
  launch_picked("pick", &pick_elements, index, columns, x.shape()[0], x.data<float>(), y.data<float>(),
                stream);
}

template <>
void pick_backward<Backend::cuda>(const Tensor& dy, const Tensor& index, std::span<const int64_t> columns,
                                  const Tensor& dx, Stream stream) {
  cuda_engine_of(stream).zero(dx.bytes_data(), dx.bytes());
  launch_picked("pick_backward", &put_elements, index, columns, dx.shape()[0], dy.data<float>(),
                dx.data<float>(), stream);
}

template <>
void combine<Backend::cuda>(const Tensor& x, const Tensor& gates, const RowSlots& of_row, const Tensor& y,
                            Stream stream) {
  sum_rows("combine", x, gates ? gates.data<float>() : nullptr, of_row, y, stream);
}

template <>
void combine_backward<Backend::cuda>(const CombineBackward& tensors, Stream stream) {
  visit_float(tensors.dy.dtype(), [&]<class T>() {
    const bool with_gates = static_cast<bool>(tensors.dgates);
    const CombineBackwardRows<T> arguments{with_gates ? tensors.x.data<T>() : nullptr,
                                           tensors.gates ? tensors.gates.data<float>() : nullptr,
                                           tensors.index.data<int32_t>(),
                                           tensors.dy.data<T>(),
                                           tensors.dx.data<T>(),
                                           with_gates ? tensors.dgates.data<float>() : nullptr,
                                           tensors.dx.shape()[0],
                                           tensors.dy.shape()[0],
                                           tensors.dx.shape()[1]};
    const bool vectors = arguments.width % kVectorElements<T> == 0 &&
                         aligned_for_vectors(arguments.x, arguments.dy, arguments.dx);
    launch("combine_backward", vectors ? &combine_backward_rows<true, T> : &combine_backward_rows<false, T>,
           {blocks_for(arguments.slots, kWarps), kThreads}, stream, arguments);
  });
}

}  // namespace tessera::kernels
