#include "tests/simulated_gpu/libraries/nccl_bootstrap.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/simulated_gpu/libraries/nccl_communicator.h"

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

/// A program of one process need not start MPI itself.
void require_mpi() {
  int is_running = 0;
  PMPI_Initialized(&is_running);
  if (is_running) return;
  int provided = 0;
  PMPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  std::atexit([] { PMPI_Finalize(); });
}

/// A host that waits in MPI runs queued work only when this library's functions come before MPI's
/// (mpi_progress.cpp).
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

}  // namespace

ncclUniqueId new_identity() {
  static int made = 0;
  require_mpi();
  const Identity identity{kMagic, world_rank(), made++};
  ncclUniqueId id{};
  std::memcpy(id.internal, &identity, sizeof identity);
  return id;
}

MPI_Comm join(const ncclUniqueId& id, int rank, int size) {
  Identity identity{};
  std::memcpy(&identity, id.internal, sizeof identity);
  if (identity.magic != kMagic) return MPI_COMM_NULL;
  require_mpi();
  require_progress_in_mpi();
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

}  // namespace simulated_gpu
