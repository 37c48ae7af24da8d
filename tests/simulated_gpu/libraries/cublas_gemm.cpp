// Matrix products of cuBLAS: which calls the library accepts, and their operations on a stream.
#include <algorithm>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <vector>

#include "tests/simulated_gpu/libraries/cublas_handle.h"
#include "tests/simulated_gpu/libraries/matrix_product.h"
#include "tests/simulated_gpu/runtime/fault.h"

using namespace simulated_gpu;

namespace {

/// Combinations that cublasGemmEx supports, without the complex types.  A and B have the same type.
/// Source: cuBLAS 13 documentation, table of cublasGemmEx.
struct Combination {
  cublasComputeType_t compute;
  cudaDataType input, output;
  bool is_simulated, is_grouped;  ///< grouped: cublasGemmGroupedBatchedEx has it too
};

constexpr Combination kCombinations[] = {
    {CUBLAS_COMPUTE_16F, CUDA_R_16F, CUDA_R_16F, false, false},
    {CUBLAS_COMPUTE_16F_PEDANTIC, CUDA_R_16F, CUDA_R_16F, false, false},
    {CUBLAS_COMPUTE_32I, CUDA_R_8I, CUDA_R_32I, false, false},
    {CUBLAS_COMPUTE_32I_PEDANTIC, CUDA_R_8I, CUDA_R_32I, false, false},
    {CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF, true, true},
    {CUBLAS_COMPUTE_32F, CUDA_R_16F, CUDA_R_16F, true, true},
    {CUBLAS_COMPUTE_32F, CUDA_R_8I, CUDA_R_32F, false, false},
    {CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_32F, true, false},
    {CUBLAS_COMPUTE_32F, CUDA_R_16F, CUDA_R_32F, true, false},
    {CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, true, true},
    {CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_16BF, CUDA_R_16BF, true, false},
    {CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_16F, CUDA_R_16F, true, false},
    {CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_8I, CUDA_R_32F, false, false},
    {CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_16BF, CUDA_R_32F, true, false},
    {CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_16F, CUDA_R_32F, true, false},
    {CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_32F, CUDA_R_32F, true, true},
    {CUBLAS_COMPUTE_32F_FAST_16F, CUDA_R_32F, CUDA_R_32F, true, false},
    {CUBLAS_COMPUTE_32F_FAST_16BF, CUDA_R_32F, CUDA_R_32F, true, false},
    {CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, true, true},
    {CUBLAS_COMPUTE_32F_EMULATED_16BFX9, CUDA_R_32F, CUDA_R_32F, false, false},
    {CUBLAS_COMPUTE_64F, CUDA_R_64F, CUDA_R_64F, false, true},
    {CUBLAS_COMPUTE_64F_PEDANTIC, CUDA_R_64F, CUDA_R_64F, false, true},
};

struct Types {
  cudaDataType a, b, c;
  cublasComputeType_t compute;
};

/// Throws std::runtime_error for a combination that cuBLAS has and the simulation has not.
cublasStatus_t check_types(const Types& types, bool is_grouped) {
  for (const Combination& known : kCombinations) {
    if (known.compute != types.compute || known.input != types.a || known.output != types.c) continue;
    if (types.a != types.b || (is_grouped && !known.is_grouped)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (known.is_simulated) return CUBLAS_STATUS_SUCCESS;
    throw std::runtime_error("cuBLAS: compute type " + std::to_string(types.compute) + " with data type " +
                             std::to_string(types.a) + " is not simulated");
  }
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

InputRounding rounding_of(cublasComputeType_t compute, const cublasContext& handle, cudaDataType input) {
  if (compute == CUBLAS_COMPUTE_32F_FAST_16F) return InputRounding::f16;
  if (compute == CUBLAS_COMPUTE_32F_FAST_16BF) return InputRounding::bf16;
  if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) return InputRounding::tf32;
  const bool allows_tf32 = (handle.math_mode & 0xf) == CUBLAS_TF32_TENSOR_OP_MATH;
  const bool is_tf32 = allows_tf32 && compute == CUBLAS_COMPUTE_32F && input == CUDA_R_32F;
  return is_tf32 ? InputRounding::tf32 : InputRounding::none;
}

struct Sizes {
  cublasOperation_t transa, transb;
  int m, n, k, lda, ldb, ldc;
};

bool is_operation(cublasOperation_t operation) {
  return operation == CUBLAS_OP_N || operation == CUBLAS_OP_T || operation == CUBLAS_OP_C;
}

bool are_valid(const Sizes& sizes) {
  if (!is_operation(sizes.transa) || !is_operation(sizes.transb)) return false;
  if (sizes.m < 0 || sizes.n < 0 || sizes.k < 0) return false;
  const int rows_a = sizes.transa == CUBLAS_OP_N ? sizes.m : sizes.k;
  const int rows_b = sizes.transb == CUBLAS_OP_N ? sizes.k : sizes.n;
  return sizes.lda >= std::max(1, rows_a) && sizes.ldb >= std::max(1, rows_b) &&
         sizes.ldc >= std::max(1, sizes.m);
}

/// Deprecated algorithm numbers are accepted and ignored, as on devices since sm_80.
bool is_algorithm(cublasGemmAlgo_t algorithm) {
  return (algorithm >= CUBLAS_GEMM_DEFAULT && algorithm <= CUBLAS_GEMM_ALGO23) ||
         (algorithm >= CUBLAS_GEMM_DEFAULT_TENSOR_OP && algorithm <= CUBLAS_GEMM_ALGO15_TENSOR_OP);
}

ProductShape shape_of(const Sizes& sizes, const Types& types, const cublasContext& handle) {
  return {sizes.transa != CUBLAS_OP_N,
          sizes.transb != CUBLAS_OP_N,
          sizes.m,
          sizes.n,
          sizes.k,
          sizes.lda,
          sizes.ldb,
          sizes.ldc,
          types.a,
          types.c,
          rounding_of(types.compute, handle, types.a)};
}

/// A factor: read at the call in host mode, at execution in device mode.
struct Scalar {
  float value;
  uint64_t address;  ///< 0: the value counts

  static Scalar of(const void* pointer, const cublasContext& handle) {
    if (handle.pointer_mode == CUBLAS_POINTER_MODE_DEVICE) return {0, reinterpret_cast<uint64_t>(pointer)};
    return {*static_cast<const float*>(pointer), 0};
  }
};

/// A value in device memory; zero when the checker forbids the access.
template <class T>
T read_value(uint64_t address, Device& device, const OperationPointer& operation) {
  T value{};
  if (device.touch(address, sizeof value, AccessKind::read, operation)) {
    std::memcpy(&value, device.memory.at(address), sizeof value);
  }
  return value;
}

float value_of(const Scalar& scalar, Device& device, const OperationPointer& operation) {
  return scalar.address ? read_value<float>(scalar.address, device, operation) : scalar.value;
}

/// Products of one shape in one call.
struct Batch {
  ProductShape shape;
  Scalar alpha, beta;
  int count;
};

/// The operands of product `index`: addresses, read when the operation runs.
using Addresses =
    std::function<ProductOperands(int index, Device& device, const OperationPointer& operation)>;

/// Work in a workspace of the program's own: two operations that share one must be ordered.  Its first bytes
/// stand for it.
void touch_workspace(const cublasContext& handle, Device& device, const OperationPointer& operation) {
  constexpr size_t kMark = 256;
  if (!handle.workspace || handle.workspace_bytes == 0) return;
  device.touch(reinterpret_cast<uint64_t>(handle.workspace), std::min(kMark, handle.workspace_bytes),
               AccessKind::write, operation);
}

/// The batches run one after the other as one operation; addresses are counted through all of them.
cublasStatus_t enqueue_products(const char* name, cublasHandle_t handle, std::vector<Batch> batches,
                                Addresses addresses) {
  CUstream_st* stream = stream_of(handle->stream, name);
  if (!stream || stream->device.index != handle->device) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (is_failure_due(FaultKind::launch)) return CUBLAS_STATUS_EXECUTION_FAILED;
  OperationPointer operation = next_operation(*stream, name);
  enqueue_work(*stream, operation, [=, context = *handle, &device = stream->device] {
    touch_workspace(context, device, operation);
    int index = 0;
    for (const Batch& batch : batches) {
      const float alpha = value_of(batch.alpha, device, operation),
                  beta = value_of(batch.beta, device, operation);
      for (int i = 0; i < batch.count; ++i) {
        ProductOperands operands = addresses(index++, device, operation);
        operands.alpha = alpha;
        operands.beta = beta;
        multiply(batch.shape, operands, device, operation);
      }
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

struct Pointers {
  const void *a, *b;
  void* c;
  long long stride_a = 0, stride_b = 0, stride_c = 0;  ///< in elements
};

/// A product, or several at equal distances.
cublasStatus_t strided_products(const char* name, cublasHandle_t handle, const Sizes& sizes,
                                const Types& types, const void* alpha, const void* beta,
                                const Pointers& pointers, int count) {
  if (!are_valid(sizes) || count < 0 || !alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
  if (const cublasStatus_t status = check_types(types, false)) return status;
  if (sizes.m == 0 || sizes.n == 0 || count == 0) return CUBLAS_STATUS_SUCCESS;
  if (!pointers.c || (sizes.k > 0 && (!pointers.a || !pointers.b))) return CUBLAS_STATUS_INVALID_VALUE;
  const auto input = int64_t(bytes_of(types.a)), output = int64_t(bytes_of(types.c));
  const auto addresses = [=](int index, Device&, const OperationPointer&) {
    return ProductOperands{
        reinterpret_cast<uint64_t>(pointers.a) + uint64_t(index * pointers.stride_a * input),
        reinterpret_cast<uint64_t>(pointers.b) + uint64_t(index * pointers.stride_b * input),
        reinterpret_cast<uint64_t>(pointers.c) + uint64_t(index * pointers.stride_c * output), 0, 0};
  };
  const Batch batch{shape_of(sizes, types, *handle), Scalar::of(alpha, *handle), Scalar::of(beta, *handle),
                    count};
  return enqueue_products(name, handle, {batch}, addresses);
}

/// Addresses that lie in three arrays of pointers in device memory.
Addresses from_arrays(const void* const a[], const void* const b[], void* const c[]) {
  return [=](int index, Device& device, const OperationPointer& operation) {
    const auto entry = [&](const void* array) {
      return read_value<uint64_t>(reinterpret_cast<uint64_t>(array) + uint64_t(index) * sizeof(void*), device,
                                  operation);
    };
    return ProductOperands{entry(a), entry(b), entry(c), 0, 0};
  };
}

}  // namespace

extern "C" {

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                              int m, int n, int k, const float* alpha, const float* a, int lda,
                              const float* b, int ldb, const float* beta, float* c, int ldc) {
  return blas_call(handle, [&] {
    const Types types{CUDA_R_32F, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F};
    return strided_products("cublasSgemm", handle, {transa, transb, m, n, k, lda, ldb, ldc}, types, alpha,
                            beta, {a, b, c}, 1);
  });
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType a_type, int lda,
                            const void* b, cudaDataType b_type, int ldb, const void* beta, void* c,
                            cudaDataType c_type, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm) {
  return blas_call(handle, [&] {
    if (!is_algorithm(algorithm)) return CUBLAS_STATUS_INVALID_VALUE;
    return strided_products("cublasGemmEx", handle, {transa, transb, m, n, k, lda, ldb, ldc},
                            {a_type, b_type, c_type, compute}, alpha, beta, {a, b, c}, 1);
  });
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                          cublasOperation_t transb, int m, int n, int k, const void* alpha,
                                          const void* a, cudaDataType a_type, int lda, long long stride_a,
                                          const void* b, cudaDataType b_type, int ldb, long long stride_b,
                                          const void* beta, void* c, cudaDataType c_type, int ldc,
                                          long long stride_c, int count, cublasComputeType_t compute,
                                          cublasGemmAlgo_t algorithm) {
  return blas_call(handle, [&] {
    if (!is_algorithm(algorithm)) return CUBLAS_STATUS_INVALID_VALUE;
    return strided_products("cublasGemmStridedBatchedEx", handle, {transa, transb, m, n, k, lda, ldb, ldc},
                            {a_type, b_type, c_type, compute}, alpha, beta,
                            {a, b, c, stride_a, stride_b, stride_c}, count);
  });
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                   int m, int n, int k, const void* alpha, const void* const a[],
                                   cudaDataType a_type, int lda, const void* const b[], cudaDataType b_type,
                                   int ldb, const void* beta, void* const c[], cudaDataType c_type, int ldc,
                                   int count, cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return blas_call(handle, [&] {
    const Sizes sizes{transa, transb, m, n, k, lda, ldb, ldc};
    const Types types{a_type, b_type, c_type, compute};
    if (!is_algorithm(algorithm) || !are_valid(sizes) || count < 0 || !alpha || !beta) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (const cublasStatus_t status = check_types(types, false)) return status;
    if (m == 0 || n == 0 || count == 0) return CUBLAS_STATUS_SUCCESS;
    if (!a || !b || !c) return CUBLAS_STATUS_INVALID_VALUE;
    const Batch batch{shape_of(sizes, types, *handle), Scalar::of(alpha, *handle), Scalar::of(beta, *handle),
                      count};
    return enqueue_products("cublasGemmBatchedEx", handle, {batch}, from_arrays(a, b, c));
  });
}

cublasStatus_t cublasGemmGroupedBatchedEx(cublasHandle_t handle, const cublasOperation_t transa[],
                                          const cublasOperation_t transb[], const int m[], const int n[],
                                          const int k[], const void* alpha, const void* const a[],
                                          cudaDataType a_type, const int lda[], const void* const b[],
                                          cudaDataType b_type, const int ldb[], const void* beta,
                                          void* const c[], cudaDataType c_type, const int ldc[],
                                          int group_count, const int group_size[],
                                          cublasComputeType_t compute) {
  return blas_call(handle, [&] {
    if (group_count < 0) return CUBLAS_STATUS_INVALID_VALUE;
    if (group_count == 0) return CUBLAS_STATUS_SUCCESS;
    if (!transa || !transb || !m || !n || !k || !lda || !ldb || !ldc || !group_size || !alpha || !beta ||
        !a || !b || !c) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (handle->pointer_mode != CUBLAS_POINTER_MODE_HOST) return CUBLAS_STATUS_NOT_SUPPORTED;
    const Types types{a_type, b_type, c_type, compute};
    if (const cublasStatus_t status = check_types(types, true)) return status;
    std::vector<Batch> batches;
    for (int group = 0; group < group_count; ++group) {
      const Sizes sizes{transa[group], transb[group], m[group],   n[group],
                        k[group],      lda[group],    ldb[group], ldc[group]};
      if (!are_valid(sizes) || group_size[group] < 0) return CUBLAS_STATUS_INVALID_VALUE;
      batches.push_back({shape_of(sizes, types, *handle),
                         {static_cast<const float*>(alpha)[group], 0},
                         {static_cast<const float*>(beta)[group], 0},
                         group_size[group]});
    }
    return enqueue_products("cublasGemmGroupedBatchedEx", handle, std::move(batches), from_arrays(a, b, c));
  });
}

}  // extern "C"
