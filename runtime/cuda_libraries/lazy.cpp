// libcublas and libnccl, opened by the first call of one of their functions.  Together they are close to a gigabyte and take
// more than a second to load, which a run on the processor, or one that ends with "no driver", should not pay.
// A program that calls a function which is missing here does not link.
#include <cublas_v2.h>
#include <dlfcn.h>
#include <nccl.h>

#include "runtime/error.h"

namespace {

class Library {
 public:
  explicit Library(const char* name) : name_(name), handle_(dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
    if (!handle_) throw tessera::Error(tessera::str(name, ": cannot be opened: ", dlerror()));
  }
  template <class Function>
  Function* find(const char* function) const {
    void* address = dlsym(handle_, function);
    if (!address) throw tessera::Error(tessera::str(name_, ": has no ", function));
    return reinterpret_cast<Function*>(address);
  }

 private:
  const char* name_;
  void* handle_;
};

const Library& cublas() {
  static const Library library(TESSERA_CUBLAS_LIBRARY);
  return library;
}
const Library& nccl() {
  static const Library library(TESSERA_NCCL_LIBRARY);
  return library;
}

}  // namespace

// The declaration in NVIDIA's header checks the parameters.
#define FORWARD(library, result, function, parameters, arguments)            \
  extern "C" result function parameters {                                    \
    static auto* const found = library().find<result parameters>(#function); \
    return found arguments;                                                  \
  }

FORWARD(cublas, cublasStatus_t, cublasCreate_v2, (cublasHandle_t * handle), (handle))
FORWARD(cublas, cublasStatus_t, cublasDestroy_v2, (cublasHandle_t handle), (handle))
FORWARD(cublas, cublasStatus_t, cublasSetStream_v2, (cublasHandle_t handle, cudaStream_t stream),
        (handle, stream))
FORWARD(cublas, cublasStatus_t, cublasSetWorkspace_v2, (cublasHandle_t handle, void* workspace, size_t bytes),
        (handle, workspace, bytes))
FORWARD(cublas, cublasStatus_t, cublasSetMathMode, (cublasHandle_t handle, cublasMath_t mode), (handle, mode))
FORWARD(cublas, const char*, cublasGetStatusString, (cublasStatus_t status), (status))
FORWARD(cublas, cublasStatus_t, cublasGemmEx,
        (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
         const void* alpha, const void* a, cudaDataType atype, int lda, const void* b, cudaDataType btype,
         int ldb, const void* beta, void* c, cudaDataType ctype, int ldc, cublasComputeType_t compute,
         cublasGemmAlgo_t algorithm),
        (handle, transa, transb, m, n, k, alpha, a, atype, lda, b, btype, ldb, beta, c, ctype, ldc, compute,
         algorithm))

FORWARD(nccl, ncclResult_t, ncclGetUniqueId, (ncclUniqueId * id), (id))
FORWARD(nccl, ncclResult_t, ncclCommInitRank, (ncclComm_t * comm, int size, ncclUniqueId id, int rank),
        (comm, size, id, rank))
FORWARD(nccl, ncclResult_t, ncclCommDestroy, (ncclComm_t comm), (comm))
FORWARD(nccl, const char*, ncclGetErrorString, (ncclResult_t result), (result))
FORWARD(nccl, const char*, ncclGetLastError, (ncclComm_t comm), (comm))
FORWARD(nccl, ncclResult_t, ncclGetVersion, (int* version), (version))
FORWARD(nccl, ncclResult_t, ncclGroupStart, (), ())
FORWARD(nccl, ncclResult_t, ncclGroupEnd, (), ())
FORWARD(nccl, ncclResult_t, ncclAllGather,
        (const void* send, void* receive, size_t count, ncclDataType_t type, ncclComm_t comm,
         cudaStream_t stream),
        (send, receive, count, type, comm, stream))
FORWARD(nccl, ncclResult_t, ncclBroadcast,
        (const void* send, void* receive, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
         cudaStream_t stream),
        (send, receive, count, type, root, comm, stream))
FORWARD(nccl, ncclResult_t, ncclSend,
        (const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream),
        (data, count, type, peer, comm, stream))
FORWARD(nccl, ncclResult_t, ncclRecv,
        (void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream),
        (data, count, type, peer, comm, stream))
