#pragma once
// Rotary positions of elements that a thread holds in registers (kernels/rope.h).

namespace tessera::kernels {

/// Turns the N / 2 pairs of x by table, the cosine and sine of each; kBack: the other way.
template <bool kBack, int N>
__device__ void turn_pairs(float* x, const float (&table)[N]) {
#pragma unroll
  for (int i = 0; i < N; i += 2) {
    const float even = x[i], odd = x[i + 1], c = table[i], s = kBack ? -table[i + 1] : table[i + 1];
    x[i] = fmaf(even, c, odd * -s);
    x[i + 1] = fmaf(odd, c, even * s);
  }
}

}  // namespace tessera::kernels
