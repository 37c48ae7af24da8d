// NCCL's collectives, sends and receives, and its texts.
#include <memory>

#include "tests/simulated_gpu/libraries/nccl_collective.h"
#include "tests/simulated_gpu/libraries/nccl_group.h"

using namespace simulated_gpu;

namespace {

bool is_type(ncclDataType_t type) { return type >= 0 && type < ncclNumTypes; }

ncclResult_t collective(ncclComm_t handle, cudaStream_t stream, const CollectiveCall& call, const void* send,
                        void* receive) {
  return nccl_call([&] {
    const std::string name = name_of(call.kind);
    const CommunicatorPointer communicator = communicator_of(handle);
    if (!communicator) return failed(ncclInvalidArgument, name + ": not a communicator");
    if (!is_type(call.type) || call.op < ncclSum || call.op >= ncclNumOps) {
      return failed(ncclInvalidArgument, name + ": data type or operation");
    }
    if (call.root < 0 || call.root >= communicator->size) return failed(ncclInvalidArgument, name + ": root");
    if (call.count == 0) return ncclSuccess;
    if (!send || !receive) return failed(ncclInvalidArgument, name + ": null buffer");
    return in_group([=] {
      auto running =
          std::make_shared<Collective>(communicator, call, ++communicator->collectives, send, receive);
      return enqueue_operation(communicator, stream, name, [running](const OperationPointer& operation) {
        return running->advance(operation);
      });
    });
  });
}

ncclResult_t transfer(const char* name, ncclComm_t handle, cudaStream_t stream, const Transfer& transfer) {
  return nccl_call([&] {
    const CommunicatorPointer communicator = communicator_of(handle);
    if (!communicator) return failed(ncclInvalidArgument, std::string(name) + ": not a communicator");
    if (!is_type(transfer.type)) return failed(ncclInvalidArgument, std::string(name) + ": data type");
    if (transfer.peer < 0 || transfer.peer >= communicator->size) {
      return failed(ncclInvalidArgument, std::string(name) + ": peer");
    }
    if (transfer.count > 0 && transfer.address == 0) {
      return failed(ncclInvalidArgument, std::string(name) + ": null buffer");
    }
    return transfer_in_group(communicator, stream, transfer);
  });
}

}  // namespace

extern "C" {

ncclResult_t ncclAllGather(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclComm_t communicator, cudaStream_t stream) {
  return collective(communicator, stream, {CollectiveKind::all_gather, type, ncclSum, 0, count}, send,
                    receive);
}

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t communicator, cudaStream_t stream) {
  return collective(communicator, stream, {CollectiveKind::all_reduce, type, op, 0, count}, send, receive);
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t communicator, cudaStream_t stream) {
  return collective(communicator, stream, {CollectiveKind::reduce_scatter, type, op, 0, count}, send,
                    receive);
}

ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  return collective(communicator, stream, {CollectiveKind::broadcast, type, ncclSum, root, count}, send,
                    receive);
}

ncclResult_t ncclBcast(void* buffer, size_t count, ncclDataType_t type, int root, ncclComm_t communicator,
                       cudaStream_t stream) {
  return ncclBroadcast(buffer, buffer, count, type, root, communicator, stream);
}

ncclResult_t ncclReduce(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t op,
                        int root, ncclComm_t communicator, cudaStream_t stream) {
  return collective(communicator, stream, {CollectiveKind::reduce, type, op, root, count}, send, receive);
}

ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  return transfer("ncclSend", communicator, stream,
                  {true, reinterpret_cast<uint64_t>(data), count, type, peer});
}

ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  return transfer("ncclRecv", communicator, stream,
                  {false, reinterpret_cast<uint64_t>(data), count, type, peer});
}

ncclResult_t ncclGetVersion(int* version) {
  if (!version) return ncclInvalidArgument;
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

/// Word for word those of NVIDIA's library.
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError:
      return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError:
      return "internal error - please report this issue to the NCCL developers";
    case ncclInvalidArgument:
      return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage:
      return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

}  // extern "C"
