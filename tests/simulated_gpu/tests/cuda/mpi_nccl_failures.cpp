// Programs that must not end well, one a mode; the sentence and the exit code are checked by whoever starts
// them.
#include <cuda_runtime_api.h>
#include <nccl.h>
#define OMPI_SKIP_MPICXX  // the deprecated C++ bindings need a library of their own
#include <mpi.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

struct Rank {
  int number = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  float* memory = nullptr;
};

Rank start() {
  Rank rank;
  int size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank.number);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  ncclUniqueId id{};
  if (rank.number == 0) ncclGetUniqueId(&id);
  MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
  ncclCommInitRank(&rank.comm, size, id, rank.number);
  cudaStreamCreateWithFlags(&rank.stream, cudaStreamNonBlocking);
  cudaMalloc(reinterpret_cast<void**>(&rank.memory), 4096 * sizeof(float));
  cudaMemsetAsync(rank.memory, 0, 4096 * sizeof(float), rank.stream);
  return rank;
}

void all_reduce(const Rank& rank, size_t count) {
  ncclAllReduce(rank.memory, rank.memory, count, ncclFloat32, ncclSum, rank.comm, rank.stream);
}

/// The fifth call has another count on rank 1.
void differing_counts(const Rank& rank) {
  for (int call = 1; call <= 4; ++call) all_reduce(rank, 64);
  all_reduce(rank, rank.number == 1 ? 2048 : 4096);
}

void differing_kinds(const Rank& rank) {
  if (rank.number == 1) {
    ncclBroadcast(rank.memory, rank.memory, 64, ncclFloat32, 0, rank.comm, rank.stream);
  } else {
    all_reduce(rank, 64);
  }
}

void differing_message(const Rank& rank) {
  if (rank.number == 0) ncclSend(rank.memory, 8, ncclFloat32, 1, rank.comm, rank.stream);
  if (rank.number == 1) ncclRecv(rank.memory, 9, ncclFloat32, 0, rank.comm, rank.stream);
}

/// Rank 1 does not call.
void missing_call(const Rank& rank) {
  if (rank.number == 0) all_reduce(rank, 64);
}

/// A report that nobody takes.
void left_report(const Rank& rank) {
  if (rank.number == 1) cudaMemset(rank.memory, 0, 4);
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const std::string mode = argc > 1 ? argv[1] : "";
  const Rank rank = start();
  if (mode == "differing_counts") differing_counts(rank);
  if (mode == "differing_kinds") differing_kinds(rank);
  if (mode == "differing_message") differing_message(rank);
  if (mode == "missing_call") missing_call(rank);
  if (mode == "left_report") left_report(rank);
  cudaStreamSynchronize(rank.stream);
  MPI_Finalize();
  return 0;
}
