#include "tests/simulated_gpu/libraries/nccl_communicator.h"

#include <climits>
#include <stdexcept>
#include <vector>

#include "tests/simulated_gpu/checker/report.h"
#include "tests/simulated_gpu/libraries/nccl_bootstrap.h"
#include "tests/simulated_gpu/runtime/fault.h"
#include "tests/simulated_gpu/runtime/scheduler.h"

namespace simulated_gpu {
namespace {

std::vector<CommunicatorPointer>& communicators() {
  static auto& list = *new std::vector<CommunicatorPointer>;
  return list;
}

std::string& last_error() {
  static std::string& text = *new std::string;
  return text;
}

ncclComm_t add_communicator(MPI_Comm host) {
  auto communicator = std::make_shared<ncclComm>();
  communicator->host = host;
  PMPI_Comm_dup(host, &communicator->operations);
  PMPI_Comm_rank(host, &communicator->rank);
  PMPI_Comm_size(host, &communicator->size);
  communicator->device = current_device_index();
  communicators().push_back(communicator);
  return communicator.get();
}

ncclResult_t initialise(ncclComm_t* result, int size, const ncclUniqueId& id, int rank) {
  if (!result || size < 1 || rank < 0 || rank >= size)
    return failed(ncclInvalidArgument, "ncclCommInitRank: rank or size");
  const MPI_Comm joined = join(id, rank, size);
  if (joined == MPI_COMM_NULL)
    return failed(ncclInvalidArgument, "ncclCommInitRank: not an id of ncclGetUniqueId");
  *result = add_communicator(joined);
  return ncclSuccess;
}

/// Blocking mode is the only one.
void check_configuration(const ncclConfig_t* configuration) {
  if (configuration && configuration->blocking == 0) {
    throw std::runtime_error("NCCL: non-blocking communicators are not simulated");
  }
}

void finish(const CommunicatorPointer& communicator) {
  run_until([&] { return communicator->completed == communicator->issued || communicator->is_aborted; });
}

void remove(const CommunicatorPointer& communicator) {
  int is_over = 0;
  PMPI_Finalized(&is_over);
  if (!is_over && !communicator->is_aborted) {
    PMPI_Comm_free(&communicator->operations);
    PMPI_Comm_free(&communicator->host);
  }
  std::erase(communicators(), communicator);
}

}  // namespace

CommunicatorPointer communicator_of(ncclComm_t handle) {
  for (const CommunicatorPointer& communicator : communicators()) {
    if (communicator.get() == handle) return communicator;
  }
  return nullptr;
}

ncclResult_t failed(ncclResult_t code, const std::string& sentence) {
  last_error() = sentence;
  return code;
}

ncclResult_t enqueue_operation(const CommunicatorPointer& communicator, cudaStream_t handle,
                               const std::string& name, std::function<bool(const OperationPointer&)> run) {
  CUstream_st* stream = stream_of(handle, name.c_str());
  if (!stream || stream->device.index != communicator->device) {
    return failed(ncclInvalidUsage, name + ": the stream is not one of the communicator's device");
  }
  if (is_failure_due(FaultKind::collective)) return failed(ncclSystemError, name + ": failure on purpose");
  OperationPointer operation = next_operation(*stream, name);
  const uint64_t ticket = communicator->issued++;
  enqueue(*stream, operation, TaskKind::collective, [communicator, operation, ticket, run = std::move(run)] {
    if (communicator->is_aborted) return true;
    if (communicator->completed != ticket || !run(operation)) return false;
    ++communicator->completed;
    return true;
  });
  return ncclSuccess;
}

void abort_ranks(const std::string& sentence) {
  add_report({ReportKind::collective, sentence, "NCCL", "", ""});
  stop_process("the ranks of a communicator disagree");
}

void wait_for(MPI_Request& request) {
  wait_for_processes([&] {
    int is_done = 0;
    PMPI_Test(&request, &is_done, MPI_STATUS_IGNORE);
    return is_done != 0;
  });
}

int message_bytes(size_t bytes) {
  if (bytes > size_t{INT_MAX}) {
    throw std::runtime_error("NCCL: messages of more than 2 GiB are not simulated, got " +
                             std::to_string(bytes));
  }
  return int(bytes);
}

}  // namespace simulated_gpu

using namespace simulated_gpu;

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  return nccl_call([&] {
    if (!id) return failed(ncclInvalidArgument, "ncclGetUniqueId: null");
    *id = new_identity();
    return ncclSuccess;
  });
}

ncclResult_t ncclCommInitRank(ncclComm_t* communicator, int size, ncclUniqueId id, int rank) {
  return nccl_call([&] { return initialise(communicator, size, id, rank); });
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* configuration) {
  return nccl_call([&] {
    check_configuration(configuration);
    return initialise(communicator, size, id, rank);
  });
}

ncclResult_t ncclCommSplit(ncclComm_t handle, int color, int key, ncclComm_t* result,
                           ncclConfig_t* configuration) {
  return nccl_call([&] {
    const CommunicatorPointer communicator = communicator_of(handle);
    if (!communicator || !result || (color < 0 && color != NCCL_SPLIT_NOCOLOR)) {
      return failed(ncclInvalidArgument, "ncclCommSplit: communicator, color or result");
    }
    check_configuration(configuration);
    MPI_Request request;
    PMPI_Ibarrier(communicator->host, &request);
    wait_for(request);
    MPI_Comm part = MPI_COMM_NULL;
    PMPI_Comm_split(communicator->host, color == NCCL_SPLIT_NOCOLOR ? MPI_UNDEFINED : color, key, &part);
    *result = part == MPI_COMM_NULL ? nullptr : add_communicator(part);
    return ncclSuccess;
  });
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  return nccl_call([&] {
    const CommunicatorPointer communicator = communicator_of(handle);
    if (!communicator) return failed(ncclInvalidArgument, "ncclCommFinalize: not a communicator");
    finish(communicator);
    return ncclSuccess;
  });
}

ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  return nccl_call([&] {
    if (!handle) return ncclSuccess;
    const CommunicatorPointer communicator = communicator_of(handle);
    if (!communicator) return failed(ncclInvalidArgument, "ncclCommDestroy: not a communicator");
    finish(communicator);
    remove(communicator);
    return ncclSuccess;
  });
}

ncclResult_t ncclCommAbort(ncclComm_t handle) {
  const std::lock_guard lock(process_mutex());
  if (!handle) return ncclSuccess;
  const CommunicatorPointer communicator = communicator_of(handle);
  if (!communicator) return failed(ncclInvalidArgument, "ncclCommAbort: not a communicator");
  communicator->is_aborted = true;
  remove(communicator);
  return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t handle, int* count) {
  return nccl_call([&] {
    const CommunicatorPointer communicator = communicator_of(handle);
    if (!communicator || !count) return failed(ncclInvalidArgument, "ncclCommCount: communicator or result");
    *count = communicator->size;
    return ncclSuccess;
  });
}

ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* rank) {
  return nccl_call([&] {
    const CommunicatorPointer communicator = communicator_of(handle);
    if (!communicator || !rank)
      return failed(ncclInvalidArgument, "ncclCommUserRank: communicator or result");
    *rank = communicator->rank;
    return ncclSuccess;
  });
}

ncclResult_t ncclCommCuDevice(const ncclComm_t handle, int* device) {
  return nccl_call([&] {
    const CommunicatorPointer communicator = communicator_of(handle);
    if (!communicator || !device)
      return failed(ncclInvalidArgument, "ncclCommCuDevice: communicator or result");
    *device = communicator->device;
    return ncclSuccess;
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* error) {
  const std::lock_guard lock(process_mutex());
  const CommunicatorPointer communicator = communicator_of(handle);
  if (!communicator || !error)
    return failed(ncclInvalidArgument, "ncclCommGetAsyncError: communicator or result");
  *error = sticky_error() == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
  return ncclSuccess;
}

const char* ncclGetLastError(ncclComm_t) {
  static std::string& copy = *new std::string;
  const std::lock_guard lock(process_mutex());
  copy = last_error();
  return copy.c_str();
}

}  // extern "C"
