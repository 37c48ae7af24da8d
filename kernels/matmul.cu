// Which code multiplies: cuBLAS for one group, kernels of our own for several and for narrow products.
#include "kernels/matmul.h"

#include <cublas_v2.h>

#include "kernels/grouped_matmul.cuh"
#include "kernels/pointwise.h"

namespace tessera::kernels {
namespace {

// NVIDIA's advice for its largest devices.  A workspace of ours, in the order of the stream, is counted with
// other memory.
constexpr int64_t kWorkspaceBytes = 32 << 20;

// Products as narrow as a router's go to the plain kernel: its bits are those of the CPU backend and do not
// depend on the number of rows, where cuBLAS would cut the sums by the shape, so routing is the same on every
// device and batch.  One tile of columns covers them, and reading the rows once bounds both.
constexpr int kNarrow = 64;

void blas_check(cublasStatus_t status, const char* what) {
  TESSERA_CHECK(status == CUBLAS_STATUS_SUCCESS, what, ": cuBLAS: ", cublasGetStatusString(status));
}

/// The engine's cuBLAS, made at the first call.
cublasHandle_t blas_of(Stream stream) {
  CudaEngine& engine = cuda_engine_of(stream);
  if (engine.blas) return engine.blas.get();
  cublasHandle_t handle = nullptr;
  blas_check(cublasCreate(&handle), "cublasCreate");
  const Tensor workspace = Tensor::empty({kWorkspaceBytes}, DType::u8, stream);
  engine.blas.reset(handle, [workspace](cublasHandle_t made) { cublasDestroy(made); });
  blas_check(cublasSetStream(handle, engine.stream_handle), "cublasSetStream");
  blas_check(cublasSetWorkspace(handle, workspace.bytes_data(), kWorkspaceBytes), "cublasSetWorkspace");
  // Partial sums of bf16 products stay in f32.
  blas_check(cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION),
             "cublasSetMathMode");
  return handle;
}

/// The tensor itself, or a copy of that dtype.
Tensor in_dtype(const Tensor& tensor, DType dtype, Stream stream) {
  if (tensor.dtype() == dtype) return tensor;
  const Tensor copy = Tensor::empty(tensor.shape(), dtype, stream);
  cast<Backend::cuda>(tensor, copy, stream);
  return copy;
}

cudaDataType_t cuda_type(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

/// One group; left and right of one dtype, the result f32 or that dtype.
///
/// cuBLAS takes matrices by columns: memory that holds [rows, columns] by rows is for it [columns, rows],
/// with the same leading dimension.  So it is asked for result^T = right^T left^T, its first operand being
/// right.  right^T is [columns of the result, depth]: where the summed index runs along the rows of memory
/// cuBLAS sees [depth, columns], and transposes; else it takes right as it lies.  For left^T, [depth, rows of
/// the result], it is the other way round.
void multiply_with_blas(const char* name, const GroupedProduct& p, Stream stream) {
  TraceRange range(cuda_engine_of(stream).trace, name);
  const int rows = static_cast<int>(p.offsets.back());
  const int result_rows = p.pass == Pass::backward_weight ? p.out : rows;
  const int result_columns = p.pass == Pass::forward ? p.out : p.in;
  const int depth = p.pass == Pass::forward ? p.in : p.pass == Pass::backward_input ? p.out : rows;
  const cublasOperation_t right_operation =
      right_depth(p.pass) == Depth::along_rows ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t left_operation =
      left_depth(p.pass) == Depth::along_rows ? CUBLAS_OP_N : CUBLAS_OP_T;
  const auto row_elements = [](const Tensor& tensor) { return static_cast<int>(tensor.shape()[-1]); };
  const float one = 1, zero = 0;
  blas_check(cublasGemmEx(blas_of(stream), right_operation, left_operation, result_columns, result_rows,
                          depth, &one, p.right.bytes_data(), cuda_type(p.right.dtype()),
                          row_elements(p.right), p.left.bytes_data(), cuda_type(p.left.dtype()),
                          row_elements(p.left), &zero, p.result.bytes_data(), cuda_type(p.result.dtype()),
                          row_elements(p.result), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
             name);
}

void multiply(const char* name, GroupedProduct product, Stream stream) {
  if (product.result.count() == 0) return;
  const bool is_narrow = product.pass != Pass::backward_weight && product.out <= kNarrow;
  const bool has_sums = product.left.count() > 0;  // cuBLAS wants a depth
  const bool for_blas = product.groups() == 1 && !is_narrow && has_sums;
  const DType dtype = product.right.dtype();
  if (for_blas) {
    product.left = in_dtype(product.left, dtype, stream);
    const Tensor result = product.result;
    const bool result_fits = result.dtype() == DType::f32 || result.dtype() == dtype;
    if (!result_fits) product.result = Tensor::empty(result.shape(), DType::f32, stream);
    multiply_with_blas(name, product, stream);
    if (!result_fits) cast<Backend::cuda>(product.result, result, stream);
  } else if (product.groups() > 1 && dtype == DType::bf16) {
    product.left = in_dtype(product.left, dtype, stream);
    multiply_on_tensor_cores(name, product, stream);
  } else {
    multiply_plain(name, product, stream);
  }
}

GroupedProduct product_of(Pass pass, const Tensor& left, const Tensor& right, const Tensor& result,
                          RowOffsets offsets) {
  const Shape weight = (pass == Pass::backward_weight ? result : right).shape();
  return {pass, left, right, result, static_cast<int>(weight[-2]), static_cast<int>(weight[-1]), offsets};
}

}  // namespace

template <>
void matmul_forward<Backend::cuda>(const Tensor& x, const Tensor& weight, const Tensor& y, RowOffsets offsets,
                                   Stream stream) {
  multiply("matmul_forward", product_of(Pass::forward, x, weight, y, offsets), stream);
}

template <>
void matmul_backward_input<Backend::cuda>(const Tensor& dy, const Tensor& weight, const Tensor& dx,
                                          RowOffsets offsets, Stream stream) {
  multiply("matmul_backward_input", product_of(Pass::backward_input, dy, weight, dx, offsets), stream);
}

template <>
void matmul_backward_weight<Backend::cuda>(const Tensor& dy, const Tensor& x, const Tensor& dweight,
                                           RowOffsets offsets, std::span<const Tensor> sums, Stream stream) {
  const Tensor gradient = sums.empty() ? dweight : Tensor::like(dweight);
  multiply("matmul_backward_weight", product_of(Pass::backward_weight, dy, x, gradient, offsets), stream);
  for (size_t i = 0; i < sums.size(); ++i)
    add<Backend::cuda>(sums[i], gradient, i + 1 < sums.size() ? gradient : dweight, stream);
}

}  // namespace tessera::kernels
