#include "kernels/rope.h"

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

#include "kernels/launch.cuh"
#include "kernels/rope.cuh"
#include "kernels/rope_frequencies.h"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

#include "kernels/rotation.inc"

constexpr int kThreads = 256;

/// One thread per pair; frequencies [pairs], radians per position.
__global__ void __launch_bounds__(kThreads)
    fill_table(const int32_t* positions, const double* frequencies, float* table, int64_t count, int pairs) {
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at >= count) return;
  const int32_t position = positions[at / pairs];
  require(position >= 0);
  const Rotation turn = rotation(position * frequencies[at % pairs]);
  table[2 * at] = static_cast<float>(turn.cosine);
  table[2 * at + 1] = static_cast<float>(turn.sine);
}

template <class T>
struct Rope {
  const T* x;
  const float* table;
  T* y;
  int64_t rows;
  int block_rows, heads, head_dim;
};

/// A block takes some rows, N / 2 pairs at a time.
template <bool kBack, bool kVectors, int N, class T>
__global__ void __launch_bounds__(kThreads) turn_rows(Rope<T> a) {
  const int64_t first = int64_t{blockIdx.x} * a.block_rows;
  const int rows = static_cast<int>(min(int64_t{a.block_rows}, a.rows - first));
  const int width = a.heads * a.head_dim;
  for (int at = threadIdx.x * N; at < rows * width; at += kThreads * N) {
    float x[N], table[N];
    load<kVectors>(a.x + first * width + at, N, x);
    load<kVectors>(a.table + (first + at / width) * a.head_dim + at % a.head_dim, N, table);
    turn_pairs<kBack>(x, table);
    store<kVectors>(a.y + first * width + at, N, x);
  }
}

template <bool kBack>
void turn(const char* op, const Tensor& x, const Tensor& table, const Tensor& y, Stream stream) {
  const int64_t rows = x.shape()[0], heads = x.shape()[1], head_dim = x.shape()[2];
  if (x.count() == 0) return;
  visit_float(x.dtype(), [&]<class T>() {
    constexpr int kVector = kVectorElements<T>;
    const int64_t block_rows = std::max<int64_t>(1, 4 * kThreads * kVector / (heads * head_dim));
    const Rope<T> arguments{x.data<T>(),
                            table.data<float>(),
                            y.data<T>(),
                            rows,
                            static_cast<int>(block_rows),
                            static_cast<int>(heads),
                            static_cast<int>(head_dim)};
    const bool vectors =
        head_dim % kVector == 0 && aligned_for_vectors(arguments.x, arguments.table, arguments.y);
    launch(op, vectors ? &turn_rows<kBack, true, kVector, T> : &turn_rows<kBack, false, 2, T>,
           {blocks_for(rows, block_rows), kThreads}, stream, arguments);
  });
}

}  // namespace

template <>
void rope_table<Backend::cuda>(const Tensor& positions, const Tensor& table, double base, Stream stream) {
  const int64_t pairs = table.shape()[1] / 2;
  if (table.count() == 0) return;
  std::vector<double> frequencies(static_cast<size_t>(pairs));
  rope_frequencies(frequencies, base);
  const std::span bytes(reinterpret_cast<const uint8_t*>(frequencies.data()),
                        frequencies.size() * sizeof(double));
  const Tensor on_device = Tensor::from(bytes, {std::ssize(bytes)}, stream);
  launch("rope_table", &fill_table, {blocks_for(table.count() / 2, kThreads), kThreads}, stream,
         positions.data<int32_t>(), reinterpret_cast<const double*>(on_device.data<uint8_t>()),
         table.data<float>(), table.count() / 2, static_cast<int>(pairs));
}

template <>
void rope_forward<Backend::cuda>(const Tensor& x, const Tensor& table, const Tensor& y, Stream stream) {
  turn<false>("rope_forward", x, table, y, stream);
}

template <>
void rope_backward<Backend::cuda>(const Tensor& dy, const Tensor& table, const Tensor& dx, Stream stream) {
  turn<true>("rope_backward", dy, table, dx, stream);
}

}  // namespace tessera::kernels
