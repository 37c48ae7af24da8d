#pragma once
// 1 / (1 + e^-x), with CUDA's exponential.

namespace tessera::kernels {

inline __device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

}  // namespace tessera::kernels
