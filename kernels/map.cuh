#pragma once
// Kernels that work element by element.

#include <type_traits>

#include "kernels/launch.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {

inline constexpr int kMapThreads = 256;

template <class T, int kCount>
struct Pointers {
  T* at[kCount];
};

/// One thread takes N neighbouring elements of every array.
template <int N, class From, int kInputs, class To, int kOutputs, class Op>
__global__ void __launch_bounds__(kMapThreads)
    map_elements(Pointers<const From, kInputs> in, Pointers<To, kOutputs> out, int64_t count, Op op) {
  constexpr bool kVectors = N > 1;
  const int64_t at = N * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  float x[kInputs][N], y[kOutputs][N];
#pragma unroll
  for (int i = 0; i < kInputs; ++i) load<kVectors>(in.at[i] + at, count - at, x[i]);
#pragma unroll
  for (int n = 0; n < N; ++n) {
    float arguments[kInputs], results[kOutputs];
#pragma unroll
    for (int i = 0; i < kInputs; ++i) arguments[i] = x[i][n];
    op(arguments, results);
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) y[i][n] = results[i];
  }
#pragma unroll
  for (int i = 0; i < kOutputs; ++i) store<kVectors>(out.at[i] + at, count - at, y[i]);
}

/// Calls op(x, y) for every element, with x and y arrays of its f32 values: inputs to read, outputs to fill.
/// Outputs may be inputs.  Vectors where all arrays are aligned for them, else single elements.
template <class From, int kInputs, class To, int kOutputs, class Op>
void map(const char* name, Pointers<const From, kInputs> in, Pointers<To, kOutputs> out, int64_t count, Op op,
         Stream stream) {
  constexpr int kVector = kVectorElements<From, To>;
  bool aligned = true;
  for (const From* array : in.at) aligned = aligned && aligned_for_vectors(array);
  for (const To* array : out.at) aligned = aligned && aligned_for_vectors(array);
  const auto run = [&]<int N>(std::integral_constant<int, N>) {
    launch(name, &map_elements<N, From, kInputs, To, kOutputs, Op>,
           {blocks_for(count, N * kMapThreads), kMapThreads}, stream, in, out, count, op);
  };
  aligned ? run(std::integral_constant<int, kVector>{}) : run(std::integral_constant<int, 1>{});
}

}  // namespace tessera::kernels
