#pragma once
// The arithmetic of a matrix product on the simulated device: C = alpha op(A) op(B) + beta C, column-major as
// in BLAS.

#include <cublas_v2.h>

#include "tests/simulated_gpu/runtime/device.h"

namespace simulated_gpu {

/// How the inputs are rounded before the f32 product.
enum class InputRounding : uint8_t { none, tf32, bf16, f16 };

struct ProductShape {
  bool transposes_a, transposes_b;
  int m, n, k;
  int lda, ldb, ldc;
  cudaDataType input_type, output_type;
  InputRounding rounding;
};

struct ProductOperands {
  uint64_t a, b, c;  ///< device addresses
  float alpha, beta;
};

size_t bytes_of(cudaDataType type);  ///< of CUDA_R_32F, CUDA_R_16BF or CUDA_R_16F

/// Tells the checker what is read and written, and computes.  The sum over k is f32 and C is rounded once; C
/// is not read when beta is 0.  Does nothing when the checker forbids an access.
void multiply(const ProductShape& shape, const ProductOperands& operands, Device& device,
              const OperationPointer& operation);

}  // namespace simulated_gpu
