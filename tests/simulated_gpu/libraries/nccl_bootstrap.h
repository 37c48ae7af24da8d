#pragma once
// How the processes of a new communicator find each other.

#define OMPI_SKIP_MPICXX  // the deprecated C++ bindings need a library of their own
#include <mpi.h>
#include <nccl.h>

namespace simulated_gpu {

/// An identity that this process makes; it has to be a member of the communicator that uses it.
ncclUniqueId new_identity();

/// Waits for all `size` ranks that bring the same identity.  MPI_COMM_NULL when it is none.  Ranks that
/// contradict each other end all of them.
MPI_Comm join(const ncclUniqueId& identity, int rank, int size);

}  // namespace simulated_gpu
