#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <random>

#include "tests/simulated_gpu/tests/cuda/cuda_test.h"

namespace simulated_gpu::tests {
namespace {

class Cublas : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasCreate(&handle));
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetStream(handle, stream));
  }
  void TearDown() override {
    EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasDestroy(handle));
    CudaTest::TearDown();
  }

  std::vector<float> random(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(generator);
    return values;
  }

  std::mt19937 generator{5};
  cublasHandle_t handle = nullptr;
};

template <class T>
constexpr cudaDataType kType = CUDA_R_32F;
template <>
constexpr cudaDataType kType<__nv_bfloat16> = CUDA_R_16BF;
template <>
constexpr cudaDataType kType<__half> = CUDA_R_16F;

/// Half the distance to the next number, relative.
template <class T>
constexpr double kRounding = 0;
template <>
constexpr double kRounding<__nv_bfloat16> = 1.0 / 256;
template <>
constexpr double kRounding<__half> = 1.0 / 2048;

template <class T>
std::vector<T> cast(const std::vector<float>& values) {
  std::vector<T> result;
  for (const float value : values) result.push_back(T(value));
  return result;
}

struct Case {
  cublasOperation_t transa, transb;
  int m, n, k, lda, ldb, ldc;
};

/// Element (i, j) of op(X).
template <class T>
double element(const std::vector<T>& x, cublasOperation_t op, int ld, int i, int j) {
  const int at = op == CUBLAS_OP_N ? i + j * ld : j + i * ld;
  return double(float(x[size_t(at)]));
}

/// Compares with sums in double; what lies between the columns of C must not change.
template <class In, class Out>
void expect_product(const Case& c, const std::vector<In>& a, const std::vector<In>& b,
                    const std::vector<Out>& before, const std::vector<Out>& after, double alpha,
                    double beta) {
  for (int j = 0; j < c.n; ++j) {
    for (int i = 0; i < c.ldc; ++i) {
      const auto at = size_t(i + j * c.ldc);
      if (i >= c.m) {
        EXPECT_EQ(float(before[at]), float(after[at])) << "gap " << i << ", " << j;
        continue;
      }
      double sum = 0, magnitude = 0;
      for (int p = 0; p < c.k; ++p) {
        const double term = element(a, c.transa, c.lda, i, p) * element(b, c.transb, c.ldb, p, j);
        sum += term;
        magnitude += std::abs(term);
      }
      const double scaled = beta == 0 ? 0 : beta * float(before[at]), expected = alpha * sum + scaled;
      // f32 sums of k products round k + 2 times at most, the result once more to its type.
      const double slack = (c.k + 3) * 0x1p-24 * (std::abs(alpha) * magnitude + std::abs(scaled));
      EXPECT_NEAR(expected, float(after[at]), slack + kRounding<Out> * (std::abs(expected) + slack))
          << i << ", " << j;
    }
  }
}

const std::vector<Case> kCases = {
    {CUBLAS_OP_N, CUBLAS_OP_N, 5, 7, 9, 5, 9, 5},     {CUBLAS_OP_T, CUBLAS_OP_N, 5, 7, 9, 11, 12, 6},
    {CUBLAS_OP_N, CUBLAS_OP_T, 33, 1, 17, 40, 3, 33}, {CUBLAS_OP_T, CUBLAS_OP_C, 16, 31, 64, 64, 31, 20},
    {CUBLAS_OP_N, CUBLAS_OP_N, 3, 2, 0, 3, 1, 3},
};

class CublasTypes : public Cublas {
 protected:
  template <class In, class Out>
  void check(float alpha, float beta) {
    for (const Case& c : kCases) {
      const int columns_a = c.transa == CUBLAS_OP_N ? c.k : c.m,
                columns_b = c.transb == CUBLAS_OP_N ? c.n : c.k;
      const auto a = cast<In>(random(size_t(std::max(1, c.lda * columns_a))));
      const auto b = cast<In>(random(size_t(std::max(1, c.ldb * columns_b))));
      const auto before = cast<Out>(random(size_t(c.ldc * c.n)));
      const In *da = to_device(a), *db = to_device(b);
      Out* dc = to_device(before);
      ASSERT_EQ(
          CUBLAS_STATUS_SUCCESS,
          cublasGemmEx(handle, c.transa, c.transb, c.m, c.n, c.k, &alpha, da, kType<In>, c.lda, db, kType<In>,
                       c.ldb, &beta, dc, kType<Out>, c.ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
      expect_product(c, a, b, before, to_host(dc, before.size()), alpha, beta);
    }
  }
};

TEST_F(CublasTypes, F32) { check<float, float>(1.5f, -0.5f); }
TEST_F(CublasTypes, Bf16) { check<__nv_bfloat16, __nv_bfloat16>(1, 0); }
TEST_F(CublasTypes, Bf16ToF32) { check<__nv_bfloat16, float>(2, 1); }
TEST_F(CublasTypes, F16) { check<__half, __half>(1, 0); }
TEST_F(CublasTypes, F16ToF32) { check<__half, float>(1, 0.25f); }

TEST_F(Cublas, OutputIsNotReadWhenBetaIsZero) {
  const float one = 1, zero = 0;
  const float* a = to_device(std::vector<float>{3});
  float* c = device_memory<float>(1);  // NaN bits that nobody wrote
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
            cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a, 1, a, 1, &zero, c, 1));
  EXPECT_EQ(std::vector<float>{9}, to_host(c, 1));
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
            cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a, 1, a, 1, &one, c, 1));
  EXPECT_EQ(std::vector<float>{18}, to_host(c, 1));
}

TEST_F(Cublas, HostFactorsAreReadAtTheCall) {
  float alpha = 2, beta = 0;
  const float* a = to_device(std::vector<float>{3});
  float* c = device_memory<float>(1);
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
            cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a, 1, a, 1, &beta, c, 1));
  alpha = 100;
  EXPECT_EQ(std::vector<float>{18}, to_host(c, 1));
}

TEST_F(Cublas, DeviceFactorsAreReadAtExecution) {
  float* alpha = to_device(std::vector<float>{2});
  const float *beta = to_device(std::vector<float>{0}), *a = to_device(std::vector<float>{3});
  float* c = device_memory<float>(1);
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetPointerMode(handle, CUBLAS_POINTER_MODE_DEVICE));
  ASSERT_EQ(cudaSuccess, cudaMemsetAsync(alpha, 0, 4, stream));
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
            cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, alpha, a, 1, a, 1, beta, c, 1));
  EXPECT_EQ(std::vector<float>{0}, to_host(c, 1));
}

TEST_F(Cublas, Tf32RoundsTheInputs) {
  const float one = 1, zero = 0, x = 1 + 0x1p-12f;
  const float* a = to_device(std::vector<float>{x});
  const float* b = to_device(std::vector<float>{1});
  float* c = device_memory<float>(1);
  const auto product = [&] {
    EXPECT_EQ(CUBLAS_STATUS_SUCCESS,
              cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a, 1, b, 1, &zero, c, 1));
    return to_host(c, 1)[0];
  };
  EXPECT_EQ(x, product());
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetMathMode(handle, CUBLAS_TF32_TENSOR_OP_MATH));
  EXPECT_EQ(1.0f, product());
}

TEST_F(Cublas, StridedBatch) {
  const float one = 1, zero = 0;
  const auto a = random(3 * 6), b = random(6), before = random(3 * 4);
  const float *da = to_device(a), *db = to_device(b);
  float* dc = to_device(before);
  // B is the same for all three: stride 0.
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
            cublasGemmStridedBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, &one, da, CUDA_R_32F, 2, 6,
                                       db, CUDA_R_32F, 3, 0, &zero, dc, CUDA_R_32F, 2, 4, 3,
                                       CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  const auto after = to_host(dc, 12);
  for (size_t i = 0; i < 3; ++i) {
    const auto part = [i](const std::vector<float>& x, size_t n) {
      return std::vector<float>(x.begin() + long(i * n), x.begin() + long(i * n + n));
    };
    expect_product({CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, 2, 3, 2}, part(a, 6), b, part(before, 4),
                   part(after, 4), 1, 0);
  }
}

TEST_F(Cublas, BatchOfPointersAndGroups) {
  const float ones[2] = {1, 2}, zeros[2] = {0, 0};
  const auto a = random(6), b = random(6);
  const float *da = to_device(a), *db = to_device(b);
  float *first = device_memory<float>(4), *second = device_memory<float>(9);
  const void** as = to_device(std::vector<const void*>{da, da});
  const void** bs = to_device(std::vector<const void*>{db, db});
  void** same = to_device(std::vector<void*>{first, second});
  ASSERT_EQ(
      CUBLAS_STATUS_SUCCESS,
      cublasGemmBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, ones, as, CUDA_R_32F, 2, bs, CUDA_R_32F,
                          3, zeros, same, CUDA_R_32F, 2, 2, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  const Case small{CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, 2, 3, 2},
      large{CUBLAS_OP_T, CUBLAS_OP_T, 3, 3, 2, 2, 3, 3};
  expect_product(small, a, b, std::vector<float>(4), to_host(first, 4), 1, 0);
  expect_product(small, a, b, std::vector<float>(4), to_host(second, 4), 1, 0);

  const cublasOperation_t ops[2] = {CUBLAS_OP_N, CUBLAS_OP_T};
  const int m[2] = {2, 3}, n[2] = {2, 3}, k[2] = {3, 2}, lda[2] = {2, 2}, ldb[2] = {3, 3}, ldc[2] = {2, 3};
  const int sizes[2] = {1, 1};
  ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
            cublasGemmGroupedBatchedEx(handle, ops, ops, m, n, k, ones, as, CUDA_R_32F, lda, bs, CUDA_R_32F,
                                       ldb, zeros, same, CUDA_R_32F, ldc, 2, sizes, CUBLAS_COMPUTE_32F));
  expect_product(small, a, b, std::vector<float>(4), to_host(first, 4), 1, 0);
  expect_product(large, a, b, std::vector<float>(9), to_host(second, 9), 2, 0);
}

TEST_F(Cublas, ChecksArguments) {
  const float one = 1;
  float* x = to_device(std::vector<float>(16));
  const auto product = [&](cublasHandle_t on, int m, int n, int k, int lda, int ldb, int ldc,
                           const float* alpha, float* c) {
    return cublasSgemm(on, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, alpha, x, lda, x, ldb, &one, c, ldc);
  };
  EXPECT_EQ(CUBLAS_STATUS_NOT_INITIALIZED, product(nullptr, 2, 2, 2, 2, 2, 2, &one, x));
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, product(handle, -1, 2, 2, 2, 2, 2, &one, x));
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, product(handle, 2, 2, 2, 1, 2, 2, &one, x));
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, product(handle, 2, 2, 2, 2, 1, 2, &one, x));
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, product(handle, 2, 2, 2, 2, 2, 1, &one, x));
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, product(handle, 2, 2, 2, 2, 2, 2, nullptr, x));
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, product(handle, 2, 2, 2, 2, 2, 2, &one, nullptr));
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS, product(handle, 0, 2, 2, 1, 2, 1, &one, nullptr));
  const auto typed = [&](cudaDataType a, cudaDataType b, cudaDataType c, cublasComputeType_t compute) {
    return cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, x, a, 2, x, b, 2, &one, x, c, 2,
                        compute, CUBLAS_GEMM_DEFAULT);
  };
  EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED, typed(CUDA_R_32F, CUDA_R_32F, CUDA_R_16BF, CUBLAS_COMPUTE_32F));
  EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED, typed(CUDA_R_16BF, CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F));
  EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED,
            typed(CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32));
}

TEST_F(Cublas, HandleSettings) {
  cudaStream_t set = nullptr;
  cublasMath_t mode = CUBLAS_PEDANTIC_MATH;
  cublasPointerMode_t pointers = CUBLAS_POINTER_MODE_DEVICE;
  int version = 0;
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasGetStream(handle, &set));
  EXPECT_EQ(stream, set);
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS,
            cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasGetMathMode(handle, &mode));
  EXPECT_EQ(CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION, mode);
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, cublasSetMathMode(handle, cublasMath_t(5)));
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasGetPointerMode(handle, &pointers));
  EXPECT_EQ(CUBLAS_POINTER_MODE_HOST, pointers);
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasGetVersion(handle, &version));
  EXPECT_EQ(CUBLAS_VERSION, version);
  char* workspace = device_memory<char>(1024);
  EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetWorkspace(handle, workspace, 1024));
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, cublasSetWorkspace(handle, workspace + 16, 512));
  EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, cublasCreate(nullptr));
  EXPECT_EQ(CUBLAS_STATUS_NOT_INITIALIZED, cublasDestroy(nullptr));
  EXPECT_STREQ("the requested functionality is not supported",
               cublasGetStatusString(CUBLAS_STATUS_NOT_SUPPORTED));
  EXPECT_STREQ("CUBLAS_STATUS_INVALID_VALUE", cublasGetStatusName(CUBLAS_STATUS_INVALID_VALUE));
}

}  // namespace
}  // namespace simulated_gpu::tests
