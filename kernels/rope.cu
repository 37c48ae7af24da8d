#include "kernels/rope.h"

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

#include "kernels/launch.cuh"
#include "kernels/rope_frequencies.h"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

#include "kernels/rotation.inc"

constexpr int kThreads = 256;

template <class T>
struct Rope {
  const T* x;
  const int32_t* positions;
  const double* frequencies;  ///< [head_dim / 2], radians per position
  T* y;
  int64_t rows;
  int block_rows, heads, head_dim;
  double direction;
};

/// A block takes some rows: first it makes their angles, which serve all heads, then it turns N / 2 pairs at
/// a time.
template <bool kVectors, int N, class T>
__global__ void __launch_bounds__(kThreads) turn_rows(Rope<T> a) {
  const int64_t first = int64_t{blockIdx.x} * a.block_rows;
  const int rows = static_cast<int>(min(int64_t{a.block_rows}, a.rows - first));
  const int pairs = a.head_dim / 2, width = a.heads * a.head_dim;
  float* const cosines = shared_memory<float>();  // [rows, pairs], as sines
  float* const sines = cosines + a.block_rows * pairs;
  for (int i = threadIdx.x; i < rows * pairs; i += kThreads) {
    const int32_t position = a.positions[first + i / pairs];
    require(position >= 0);
    const Rotation turn = rotation(a.direction * position * a.frequencies[i % pairs]);
    cosines[i] = static_cast<float>(turn.cosine);
    sines[i] = static_cast<float>(turn.sine);
  }
  __syncthreads();
  for (int at = threadIdx.x * N; at < rows * width; at += kThreads * N) {
    const int angle = at / width * pairs + at % a.head_dim / 2;
    float x[N], cosine[N / 2], sine[N / 2];
    load<kVectors>(a.x + first * width + at, N, x);
    load<kVectors>(cosines + angle, N / 2, cosine);
    load<kVectors>(sines + angle, N / 2, sine);
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const float even = x[i], odd = x[i + 1], c = cosine[i / 2], s = sine[i / 2];
      x[i] = fmaf(even, c, odd * -s);
      x[i + 1] = fmaf(odd, c, even * s);
    }
    store<kVectors>(a.y + first * width + at, N, x);
  }
}

void rotate(const char* op, const Tensor& x, const Tensor& positions, const Tensor& y, double base,
            double direction, Stream stream) {
  const int64_t rows = x.shape()[0], heads = x.shape()[1], head_dim = x.shape()[2], pairs = head_dim / 2;
  if (x.count() == 0) return;
  std::vector<double> frequencies(static_cast<size_t>(pairs));
  rope_frequencies(frequencies, base);
  const std::span bytes(reinterpret_cast<const uint8_t*>(frequencies.data()),
                        frequencies.size() * sizeof(double));
  const Tensor on_device = Tensor::from(bytes, {std::ssize(bytes)}, stream);
  const int64_t block_rows = std::max<int64_t>(1, kThreads / pairs);  // every thread makes an angle
  visit_float(x.dtype(), [&]<class T>() {
    constexpr int kVector = kVectorElements<T>;
    const Rope<T> arguments{x.data<T>(),
                            positions.data<int32_t>(),
                            reinterpret_cast<const double*>(on_device.data<uint8_t>()),
                            y.data<T>(),
                            rows,
                            static_cast<int>(block_rows),
                            static_cast<int>(heads),
                            static_cast<int>(head_dim),
                            direction};
    const bool vectors = head_dim % kVector == 0 && aligned_for_vectors(arguments.x, arguments.y);
    launch(op, vectors ? &turn_rows<true, kVector, T> : &turn_rows<false, 2, T>,
           {blocks_for(rows, block_rows), kThreads, 2 * block_rows * pairs * sizeof(float)}, stream,
           arguments);
  });
}

}  // namespace

template <>
void rope_forward<Backend::cuda>(const Tensor& x, const Tensor& positions, const Tensor& y, double base,
                                 Stream stream) {
  rotate("rope_forward", x, positions, y, base, 1, stream);
}

template <>
void rope_backward<Backend::cuda>(const Tensor& dy, const Tensor& positions, const Tensor& dx, double base,
                                  Stream stream) {
  rotate("rope_backward", dy, positions, dx, base, -1, stream);
}

}  // namespace tessera::kernels
