// A host that waits in MPI must not hold up its own device: a real GPU goes on working while the host waits,
// so these stand in front of MPI's waiting functions (its profiling interface) and run queued work until what
// the host waits for has come.
#define OMPI_SKIP_MPICXX  // the deprecated C++ bindings need a library of their own
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/scheduler.h"
#include "tests/simulated_gpu/runtime/stream.h"

using namespace simulated_gpu;

namespace {

bool has_queued_work() {
  return std::any_of(all_streams().begin(), all_streams().end(),
                     [](const auto& stream) { return !stream->tasks.empty(); });
}

/// Runs queued work until the test succeeds or nothing is queued.  No watchdog: how long the program waits is
/// its own affair.
template <class Test>
void work_until(Test test) try {
  while (!test()) {
    {
      const std::lock_guard lock(process_mutex());
      if (!has_queued_work()) return;
      if (run_one()) continue;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
} catch (const std::exception& error) {
  stop_process(error.what());
}

/// Waits for a request without statuses; its code is that of the operation.
int finish(int code, MPI_Request* request) {
  return code == MPI_SUCCESS ? MPI_Wait(request, MPI_STATUS_IGNORE) : code;
}

int meet(MPI_Comm comm) {
  MPI_Request request;
  return finish(PMPI_Ibarrier(comm, &request), &request);
}

}  // namespace

extern "C" {

int MPI_Wait(MPI_Request* request, MPI_Status* status) {
  int is_done = 0;
  work_until([&] {
    return PMPI_Request_get_status(*request, &is_done, MPI_STATUS_IGNORE) != MPI_SUCCESS || is_done;
  });
  return PMPI_Wait(request, status);
}

int MPI_Waitall(int count, MPI_Request requests[], MPI_Status statuses[]) {
  int is_done = 0;
  for (int i = 0; i < count; ++i) {
    work_until([&] {
      return PMPI_Request_get_status(requests[i], &is_done, MPI_STATUS_IGNORE) != MPI_SUCCESS || is_done;
    });
  }
  return PMPI_Waitall(count, requests, statuses);
}

int MPI_Barrier(MPI_Comm comm) { return meet(comm); }

int MPI_Bcast(void* buffer, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  MPI_Request request;
  return finish(PMPI_Ibcast(buffer, count, type, root, comm, &request), &request);
}

int MPI_Allreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  MPI_Request request;
  return finish(PMPI_Iallreduce(send, receive, count, type, op, comm, &request), &request);
}

int MPI_Allgather(const void* send, int send_count, MPI_Datatype send_type, void* receive, int receive_count,
                  MPI_Datatype receive_type, MPI_Comm comm) {
  MPI_Request request;
  return finish(
      PMPI_Iallgather(send, send_count, send_type, receive, receive_count, receive_type, comm, &request),
      &request);
}

int MPI_Send(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm) {
  MPI_Request request;
  return finish(PMPI_Isend(data, count, type, to, tag, comm, &request), &request);
}

int MPI_Recv(void* data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Status* status) {
  MPI_Request request;
  const int code = PMPI_Irecv(data, count, type, from, tag, comm, &request);
  return code == MPI_SUCCESS ? MPI_Wait(&request, status) : code;
}

int MPI_Comm_split(MPI_Comm comm, int color, int key, MPI_Comm* result) {
  const int code = meet(comm);
  return code == MPI_SUCCESS ? PMPI_Comm_split(comm, color, key, result) : code;
}

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm* result) {
  const int code = meet(comm);
  return code == MPI_SUCCESS ? PMPI_Comm_dup(comm, result) : code;
}

}  // extern "C"
