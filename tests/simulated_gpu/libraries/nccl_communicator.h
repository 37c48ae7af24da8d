#pragma once
// NCCL communicators over MPI: one rank per process.

#define OMPI_SKIP_MPICXX  // the deprecated C++ bindings need a library of their own
#include <mpi.h>
#include <nccl.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/stream.h"

struct ncclComm {
  MPI_Comm operations = MPI_COMM_NULL;  ///< what streams run
  MPI_Comm host = MPI_COMM_NULL;        ///< what the host does at once: splitting
  int rank = 0, size = 1, device = 0;
  uint64_t issued = 0;  ///< tickets handed out, one a call, in the order of the program
  uint64_t completed =
      0;  ///< the ticket that may run: operations of one communicator run one after the other
  uint64_t collectives = 0;  ///< calls in which all ranks take part, counted alike on all of them
  bool is_aborted = false;
};

namespace simulated_gpu {

using CommunicatorPointer = std::shared_ptr<ncclComm>;

/// Null for a handle that is not live.
CommunicatorPointer communicator_of(ncclComm_t handle);

/// Notes the sentence for ncclGetLastError and returns the code.
ncclResult_t failed(ncclResult_t code, const std::string& sentence);

/// Puts an operation on a stream: `run` is called once the communicator's earlier operations are done, until
/// it returns true.
ncclResult_t enqueue_operation(const CommunicatorPointer& communicator, cudaStream_t stream,
                               const std::string& name, std::function<bool(const OperationPointer&)> run);

/// Ranks contradict each other: a report (collective), and the end of all of them.
[[noreturn]] void abort_ranks(const std::string& sentence);

/// Device work goes on while the host waits for other processes.  Frees the request.
void wait_for(MPI_Request& request);

/// Bytes of one message; throws std::runtime_error beyond what one MPI call takes.
int message_bytes(size_t bytes);

/// Runs the body under the process's lock.
template <class Body>
ncclResult_t nccl_call(Body body) {
  if (in_host_function()) return failed(ncclInvalidUsage, "NCCL may not be called from a host function");
  const std::lock_guard lock(process_mutex());
  try {
    if (sticky_error() != cudaSuccess)
      return failed(ncclUnhandledCudaError, "the device has ended with an error");
    return body();
  } catch (const std::exception& error) {
    stop_process(error.what());
  }
}

}  // namespace simulated_gpu
