#include "tests/simulated_gpu/libraries/matrix_product.h"

#include <cblas.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace simulated_gpu {
namespace {

/// A matrix in device memory, column-major.
struct Matrix {
  uint64_t address;
  int rows, columns, leading_dimension;
  cudaDataType type;

  uint64_t column(int index) const {
    return address + uint64_t(index) * uint64_t(leading_dimension) * bytes_of(type);
  }
};

float load(const std::byte* at, cudaDataType type) {
  const auto read = [at]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return float(value);
  };
  if (type == CUDA_R_32F) return read(float{});
  return type == CUDA_R_16BF ? read(__nv_bfloat16{}) : read(__half{});
}

void store(std::byte* at, cudaDataType type, float value) {
  const auto write = [at](auto rounded) { std::memcpy(at, &rounded, sizeof rounded); };
  if (type == CUDA_R_32F) {
    write(value);
  } else if (type == CUDA_R_16BF) {
    write(__float2bfloat16(value));
  } else {
    write(__float2half(value));
  }
}

/// To nearest, ties away from zero, 10 bits of mantissa, as cvt.rna.tf32.f32.
float to_tf32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;
  return std::bit_cast<float>((bits + 0x1000u) & ~0x1fffu);
}

float rounded(float value, InputRounding rounding) {
  switch (rounding) {
    case InputRounding::none:
      return value;
    case InputRounding::tf32:
      return to_tf32(value);
    case InputRounding::bf16:
      return float(__float2bfloat16(value));
    case InputRounding::f16:
      return float(__float2half(value));
  }
  return value;
}

/// Tells the checker of the columns; false when it forbids one.
bool touch(const Matrix& matrix, AccessKind kind, Device& device, const OperationPointer& operation) {
  const uint64_t bytes = uint64_t(matrix.rows) * bytes_of(matrix.type);
  if (matrix.leading_dimension == matrix.rows) {
    return device.touch(matrix.address, bytes * uint64_t(matrix.columns), kind, operation);
  }
  bool is_allowed = true;
  for (int column = 0; column < matrix.columns; ++column) {
    is_allowed &= device.touch(matrix.column(column), bytes, kind, operation);
  }
  return is_allowed;
}

/// The matrix as f32 without gaps.
std::vector<float> read(const Matrix& matrix, InputRounding rounding, const Device& device) {
  std::vector<float> values(size_t(matrix.rows) * size_t(matrix.columns));
  auto value = values.begin();
  for (int column = 0; column < matrix.columns; ++column) {
    const std::byte* from = device.memory.at(matrix.column(column));
    for (int row = 0; row < matrix.rows; ++row, from += bytes_of(matrix.type)) {
      *value++ = rounded(load(from, matrix.type), rounding);
    }
  }
  return values;
}

void write(const Matrix& matrix, const std::vector<float>& values, const Device& device) {
  auto value = values.begin();
  for (int column = 0; column < matrix.columns; ++column) {
    std::byte* to = device.memory.at(matrix.column(column));
    for (int row = 0; row < matrix.rows; ++row, to += bytes_of(matrix.type)) store(to, matrix.type, *value++);
  }
}

}  // namespace

size_t bytes_of(cudaDataType type) {
  if (type == CUDA_R_32F) return 4;
  if (type == CUDA_R_16BF || type == CUDA_R_16F) return 2;
  throw std::runtime_error("cuBLAS: data type " + std::to_string(type) + " is not simulated");
}

void multiply(const ProductShape& shape, const ProductOperands& operands, Device& device,
              const OperationPointer& operation) {
  const auto [ta, tb, m, n, k, lda, ldb, ldc, input, output, rounding] = shape;
  if (m == 0 || n == 0) return;
  const Matrix a{operands.a, ta ? k : m, ta ? m : k, lda, input},
      b{operands.b, tb ? n : k, tb ? k : n, ldb, input};
  const Matrix c{operands.c, m, n, ldc, output};
  const bool has_product = k > 0 && operands.alpha != 0;
  bool is_allowed = true;
  if (has_product) {
    is_allowed &= touch(a, AccessKind::read, device, operation);
    is_allowed &= touch(b, AccessKind::read, device, operation);
  }
  if (operands.beta != 0) is_allowed &= touch(c, AccessKind::read, device, operation);
  is_allowed &= touch(c, AccessKind::write, device, operation);
  if (!is_allowed) return;

  std::vector<float> result(size_t(m) * size_t(n));
  if (operands.beta != 0) result = read(c, InputRounding::none, device);
  if (has_product) {
    // One thread: ranks share the machine, and sums must not depend on how many cores it has.
    openblas_set_num_threads(1);
    cblas_sgemm(CblasColMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k,
                operands.alpha, read(a, rounding, device).data(), a.rows, read(b, rounding, device).data(),
                b.rows, operands.beta, result.data(), m);
  } else {
    for (float& value : result) value *= operands.beta;
  }
  write(c, result, device);
}

}  // namespace simulated_gpu
