#include "tests/simulated_gpu/libraries/nccl_transfer.h"

#include <cstring>
#include <utility>

#include "tests/simulated_gpu/libraries/nccl_buffer.h"
#include "tests/simulated_gpu/libraries/nccl_reduction.h"

namespace simulated_gpu {
namespace {

constexpr int kTag = 0;

/// Goes ahead of the data in every message.
struct Header {
  uint64_t count;
  ncclDataType_t type;
};

std::string describe(uint64_t count, ncclDataType_t type) {
  return std::to_string(count) + " " + name_of(type);
}

bool is_done(MPI_Request& request) {
  int flag = 0;
  PMPI_Test(&request, &flag, MPI_STATUS_IGNORE);
  return flag != 0;
}

}  // namespace

Transfers::Transfers(CommunicatorPointer communicator, const std::vector<Transfer>& transfers)
    : communicator_(std::move(communicator)), transfers_(transfers) {
  for (const Transfer& transfer : transfers_) {
    if (!transfer.is_send) receives_.push_back({transfer, MPI_MESSAGE_NULL, MPI_REQUEST_NULL, {}});
  }
}

bool Transfers::advance(const OperationPointer& operation) {
  if (!is_started_) start_sends(operation);
  bool all_done = true;
  for (Receive& receive : receives_) {
    if (receive.is_written) continue;
    if (match(receive) && is_done(receive.request)) {
      write(receive, operation);
    } else {
      all_done = false;
    }
  }
  for (Send& send : sends_) all_done &= is_done(send.request);
  return all_done;
}

void Transfers::start_sends(const OperationPointer& operation) {
  is_started_ = true;
  Device& device = simulated_gpu::device(communicator_->device);
  for (const Transfer& transfer : transfers_) {
    if (!transfer.is_send) continue;
    const Header header{transfer.count, transfer.type};
    const auto data =
        read_device(device, transfer.address, transfer.count * bytes_of(transfer.type), operation);
    Send& send = sends_.emplace_back();
    send.bytes.resize(sizeof header + data.size());
    std::memcpy(send.bytes.data(), &header, sizeof header);
    std::memcpy(send.bytes.data() + sizeof header, data.data(), data.size());
    // Synchronous: a send that nobody receives does not end, as with NCCL.
    PMPI_Issend(send.bytes.data(), message_bytes(send.bytes.size()), MPI_BYTE, transfer.peer, kTag,
                communicator_->operations, &send.request);
  }
}

bool Transfers::is_next_from_peer(const Receive& receive) const {
  for (const Receive& other : receives_) {
    if (&other == &receive) return true;
    if (other.transfer.peer == receive.transfer.peer && !other.is_matched) return false;
  }
  return true;
}

bool Transfers::match(Receive& receive) {
  if (receive.is_matched) return true;
  if (!is_next_from_peer(receive)) return false;
  int is_there = 0, bytes = 0;
  MPI_Status status;
  PMPI_Improbe(receive.transfer.peer, kTag, communicator_->operations, &is_there, &receive.message, &status);
  if (!is_there) return false;
  PMPI_Get_count(&status, MPI_BYTE, &bytes);
  receive.bytes.resize(size_t(bytes));
  PMPI_Imrecv(receive.bytes.data(), bytes, MPI_BYTE, &receive.message, &receive.request);
  receive.is_matched = true;
  return true;
}

void Transfers::write(Receive& receive, const OperationPointer& operation) {
  Header header{};
  std::memcpy(&header, receive.bytes.data(), sizeof header);
  const Transfer& wanted = receive.transfer;
  if (header.count != wanted.count || header.type != wanted.type) {
    abort_ranks("rank " + std::to_string(wanted.peer) + " sends " + describe(header.count, header.type) +
                ", rank " + std::to_string(communicator_->rank) + " receives " +
                describe(wanted.count, wanted.type));
  }
  write_device(simulated_gpu::device(communicator_->device), wanted.address,
               receive.bytes.data() + sizeof header, receive.bytes.size() - sizeof header, operation);
  receive.is_written = true;
}

}  // namespace simulated_gpu
