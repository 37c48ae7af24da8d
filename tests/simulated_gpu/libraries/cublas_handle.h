#pragma once
// What a cuBLAS handle holds, and how every call of the simulated library begins and ends.

#include <cublas_v2.h>

#include <exception>
#include <mutex>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/stream.h"

struct cublasContext {
  int device;
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;  ///< null: the library's own
  size_t workspace_bytes = 0;
  cublasMath_t math_mode = CUBLAS_DEFAULT_MATH;
  cublasPointerMode_t pointer_mode = CUBLAS_POINTER_MODE_HOST;
};

namespace simulated_gpu {

bool is_live(cublasHandle_t handle);

/// Runs the body under the process's lock.  A handle that is not live: NOT_INITIALIZED.  A device that an
/// error ended: EXECUTION_FAILED.
template <class Body>
cublasStatus_t blas_call(cublasHandle_t handle, Body body) {
  if (in_host_function()) return CUBLAS_STATUS_EXECUTION_FAILED;
  const std::lock_guard lock(process_mutex());
  try {
    if (!is_live(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (sticky_error() != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
    return body();
  } catch (const std::exception& error) {
    stop_process(error.what());
  }
}

}  // namespace simulated_gpu
