#include "tests/simulated_gpu/tests/cuda/device_math.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>

namespace simulated_gpu {
namespace {

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

__global__ void __launch_bounds__(128) math_of_float(const float* x, float* y, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const float a = x[i];
  const float values[kMathFunctions] = {expf(a),        exp2f(a), expm1f(a), logf(a),  log2f(a),  log1pf(a),
                                        powf(a, a / 8), erff(a),  rsqrtf(a), sqrtf(a), cbrtf(a),  tanhf(a),
                                        sinf(a),        cosf(a),  tanf(a),   atanf(a), sinpif(a), cospif(a)};
  for (int f = 0; f < kMathFunctions; ++f) y[f * count + i] = values[f];
}

__global__ void __launch_bounds__(128) math_of_double(const double* x, double* y, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const double a = x[i];
  const double values[kMathFunctions] = {exp(a),        exp2(a), expm1(a), log(a),  log2(a),  log1p(a),
                                         pow(a, a / 8), erf(a),  rsqrt(a), sqrt(a), cbrt(a),  tanh(a),
                                         sin(a),        cos(a),  tan(a),   atan(a), sinpi(a), cospi(a)};
  for (int f = 0; f < kMathFunctions; ++f) y[f * count + i] = values[f];
}

template <class T>
std::vector<T> run(void (*kernel)(const T*, T*, int), const std::vector<T>& x) {
  const size_t results = x.size() * kMathFunctions;
  cudaStream_t stream;
  T *device_x, *device_y, *host_x, *host_y;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  check(cudaMalloc(&device_x, x.size() * sizeof(T)));
  check(cudaMalloc(&device_y, results * sizeof(T)));
  check(cudaMallocHost(&host_x, x.size() * sizeof(T)));
  check(cudaMallocHost(&host_y, results * sizeof(T)));
  std::copy(x.begin(), x.end(), host_x);
  check(cudaMemcpyAsync(device_x, host_x, x.size() * sizeof(T), cudaMemcpyHostToDevice, stream));
  kernel<<<static_cast<unsigned>((x.size() + 127) / 128), 128, 0, stream>>>(device_x, device_y,
                                                                            static_cast<int>(x.size()));
  check(cudaGetLastError());
  check(cudaMemcpyAsync(host_y, device_y, results * sizeof(T), cudaMemcpyDeviceToHost, stream));
  check(cudaStreamSynchronize(stream));
  std::vector<T> y(host_y, host_y + results);
  check(cudaFreeHost(host_y));
  check(cudaFreeHost(host_x));
  check(cudaFree(device_y));
  check(cudaFree(device_x));
  check(cudaStreamDestroy(stream));
  return y;
}

}  // namespace

std::vector<float> device_math(const std::vector<float>& x) { return run(math_of_float, x); }
std::vector<double> device_math(const std::vector<double>& x) { return run(math_of_double, x); }

}  // namespace simulated_gpu
