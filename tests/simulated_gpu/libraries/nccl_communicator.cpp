#include "tests/simulated_gpu/libraries/nccl_communicator.h"

#include <dlfcn.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "tests/simulated_gpu/checker/report.h"
#include "tests/simulated_gpu/runtime/fault.h"
#include "tests/simulated_gpu/runtime/scheduler.h"

namespace simulated_gpu {
namespace {

/// What an ncclUniqueId holds.
struct Identity {
  uint64_t magic;
  int creator;  ///< rank of MPI_COMM_WORLD that made it, and has to be a member
  int number;   ///< of the identities it has made
};
constexpr uint64_t kMagic = 0x7369'6d75'6c61'7465;

/// One member of a communicator in the making.
struct Member {
  int rank, size, world_rank;
};

// Tags on MPI_COMM_WORLD that programs leave alone; MPI guarantees tags to 32767.
constexpr int kFirstTag = 32000, kTags = 700;

std::vector<CommunicatorPointer>& communicators() {
  static auto& list = *new std::vector<CommunicatorPointer>;
  return list;
}

std::string& last_error() {
  static std::string& text = *new std::string;
  return text;
}

/// A program of one process need not start MPI itself.
void require_mpi() {
  int is_running = 0;
  PMPI_Initialized(&is_running);
  if (is_running) return;
  int provided = 0;
  PMPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  std::atexit([] { PMPI_Finalize(); });
}

/// A host that waits in MPI runs queued work only when this library's functions come before MPI's (mpi_progress.cpp).
void require_progress_in_mpi() {
  Dl_info ours{}, found{};
  dladdr(reinterpret_cast<void*>(&ncclCommInitRank), &ours);
  dladdr(reinterpret_cast<void*>(&MPI_Wait), &found);
  if (ours.dli_fbase != found.dli_fbase) {
    throw std::runtime_error(std::string("MPI_Wait comes from ") + found.dli_fname +
                             ": link the simulated libraries before MPI");
  }
}

int world_rank() {
  int rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

/// The creator hears from every member.
std::vector<Member> collect_members(const Member& mine, int tag) {
  std::vector<Member> members{mine};
  while (members.size() < size_t(mine.size)) {
    MPI_Request request;
    Member other{};
    PMPI_Irecv(&other, sizeof other, MPI_BYTE, MPI_ANY_SOURCE, tag, MPI_COMM_WORLD, &request);
    wait_for(request);
    members.push_back(other);
  }
  std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) { return a.rank < b.rank; });
  for (size_t rank = 0; rank < members.size(); ++rank) {
    if (members[rank].size != mine.size || members[rank].rank != int(rank)) {
      abort_ranks("ncclCommInitRank: process " + std::to_string(members[rank].world_rank) +
                  " calls it as rank " + std::to_string(members[rank].rank) + " of " +
                  std::to_string(members[rank].size) + ", expected rank " + std::to_string(rank) + " of " +
                  std::to_string(mine.size));
    }
  }
  return members;
}

/// Ranks of MPI_COMM_WORLD in the order of the new communicator.
std::vector<int> meet(const Identity& identity, int rank, int size) {
  const Member mine{rank, size, world_rank()};
  const int tag = kFirstTag + identity.number % kTags;
  std::vector<int> world_ranks(size_t(size), 0);
  MPI_Request request;
  if (mine.world_rank == identity.creator) {
    const std::vector<Member> members = collect_members(mine, tag);
    std::transform(members.begin(), members.end(), world_ranks.begin(),
                   [](const Member& m) { return m.world_rank; });
    for (const Member& member : members) {
      if (member.world_rank == mine.world_rank) continue;
      PMPI_Isend(world_ranks.data(), size, MPI_INT, member.world_rank, tag, MPI_COMM_WORLD, &request);
      wait_for(request);
    }
  } else {
    PMPI_Isend(&mine, sizeof mine, MPI_BYTE, identity.creator, tag, MPI_COMM_WORLD, &request);
    wait_for(request);
    PMPI_Irecv(world_ranks.data(), size, MPI_INT, identity.creator, tag, MPI_COMM_WORLD, &request);
    wait_for(request);
  }
  return world_ranks;
}

MPI_Comm join(const Identity& identity, int rank, int size) {
  const std::vector<int> world_ranks = meet(identity, rank, size);
  MPI_Group world, members;
  MPI_Comm result = MPI_COMM_NULL;
  PMPI_Comm_group(MPI_COMM_WORLD, &world);
  PMPI_Group_incl(world, size, world_ranks.data(), &members);
  PMPI_Comm_create_group(MPI_COMM_WORLD, members, kFirstTag + identity.number % kTags, &result);
  PMPI_Group_free(&world);
  PMPI_Group_free(&members);
  return result;
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
  Identity identity{};
  std::memcpy(&identity, id.internal, sizeof identity);
  if (identity.magic != kMagic)
    return failed(ncclInvalidArgument, "ncclCommInitRank: not an id of ncclGetUniqueId");
  require_mpi();
  require_progress_in_mpi();
  *result = add_communicator(join(identity, rank, size));
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
    static int made = 0;
    require_mpi();
    const Identity identity{kMagic, world_rank(), made++};
    std::memset(id->internal, 0, sizeof id->internal);
    std::memcpy(id->internal, &identity, sizeof identity);
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
