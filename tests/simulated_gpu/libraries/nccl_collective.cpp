#include "tests/simulated_gpu/libraries/nccl_collective.h"

#include <utility>

#include "tests/simulated_gpu/libraries/nccl_buffer.h"
#include "tests/simulated_gpu/libraries/nccl_reduction.h"

namespace simulated_gpu {
namespace {

constexpr const char* kNames[] = {"ncclAllGather", "ncclAllReduce", "ncclReduceScatter", "ncclBroadcast",
                                  "ncclReduce"};

bool has_root(CollectiveKind kind) {
  return kind == CollectiveKind::broadcast || kind == CollectiveKind::reduce;
}
bool reduces(CollectiveKind kind) {
  return kind != CollectiveKind::all_gather && kind != CollectiveKind::broadcast;
}

}  // namespace

const char* name_of(CollectiveKind kind) { return kNames[int(kind)]; }

std::string describe(const CollectiveCall& call) {
  std::string text =
      std::string(name_of(call.kind) + 4) + " of " + std::to_string(call.count) + " " + name_of(call.type);
  if (reduces(call.kind)) text += std::string(", ") + name_of(call.op);
  if (has_root(call.kind)) text += ", root " + std::to_string(call.root);
  return text;
}

Collective::Collective(CommunicatorPointer communicator, CollectiveCall call, uint64_t number,
                       const void* send, void* receive)
    : communicator_(std::move(communicator)),
      call_(call),
      number_(number),
      send_(reinterpret_cast<uint64_t>(send)),
      receive_(reinterpret_cast<uint64_t>(receive)),
      calls_(size_t(communicator_->size)) {}

bool Collective::advance(const OperationPointer& operation) {
  if (phase_ == Phase::before) start_comparing();
  if (!is_done(request_)) return false;
  if (phase_ == Phase::comparing) {
    compare();
    start_exchange(operation);
    if (!is_done(request_)) return false;
  }
  write_result(operation);
  return true;
}

bool Collective::is_done(MPI_Request& request) const {
  int flag = 0;
  PMPI_Test(&request, &flag, MPI_STATUS_IGNORE);
  return flag != 0;
}

void Collective::start_comparing() {
  PMPI_Iallgather(&call_, sizeof call_, MPI_BYTE, calls_.data(), sizeof call_, MPI_BYTE,
                  communicator_->operations, &request_);
  phase_ = Phase::comparing;
}

void Collective::compare() const {
  for (int rank = 1; rank < communicator_->size; ++rank) {
    const CollectiveCall &first = calls_[0], &other = calls_[size_t(rank)];
    if (other == first) continue;
    abort_ranks("call " + std::to_string(number_) + " of this communicator: rank " + std::to_string(rank) +
                " calls " + describe(other) + ", rank 0 calls " + describe(first));
  }
}

void Collective::start_exchange(const OperationPointer& operation) {
  Device& device = simulated_gpu::device(communicator_->device);
  const MPI_Comm comm = communicator_->operations;
  const auto ranks = size_t(communicator_->size), part = size_t(call_.count) * bytes_of(call_.type);
  const int bytes = message_bytes(part);
  const bool is_root = communicator_->rank == call_.root;
  const auto send = [&](size_t size) { outgoing_ = read_device(device, send_, size, operation); };
  switch (call_.kind) {
    case CollectiveKind::all_gather:
    case CollectiveKind::all_reduce:
      send(part);
      incoming_.resize(ranks * part);
      PMPI_Iallgather(outgoing_.data(), bytes, MPI_BYTE, incoming_.data(), bytes, MPI_BYTE, comm, &request_);
      break;
    case CollectiveKind::reduce_scatter:
      send(ranks * part);
      incoming_.resize(ranks * part);
      PMPI_Ialltoall(outgoing_.data(), bytes, MPI_BYTE, incoming_.data(), bytes, MPI_BYTE, comm, &request_);
      break;
    case CollectiveKind::broadcast:
      incoming_ = is_root ? read_device(device, send_, part, operation) : std::vector<std::byte>(part);
      PMPI_Ibcast(incoming_.data(), bytes, MPI_BYTE, call_.root, comm, &request_);
      break;
    case CollectiveKind::reduce:
      send(part);
      if (is_root) incoming_.resize(ranks * part);
      PMPI_Igather(outgoing_.data(), bytes, MPI_BYTE, incoming_.data(), bytes, MPI_BYTE, call_.root, comm,
                   &request_);
      break;
  }
  phase_ = Phase::exchanging;
}

void Collective::write_result(const OperationPointer& operation) {
  if (call_.kind == CollectiveKind::reduce && communicator_->rank != call_.root) return;
  if (reduces(call_.kind)) {
    incoming_ = reduce(incoming_, call_.count, communicator_->size, call_.type, call_.op, number_);
  }
  write_device(simulated_gpu::device(communicator_->device), receive_, incoming_.data(), incoming_.size(),
               operation);
}

}  // namespace simulated_gpu
