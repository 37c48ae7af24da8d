// Ranks as MPI processes.  Exchanges are point-to-point messages, as they are inside Open MPI's nonblocking collectives too;
// that way counts are not bound to int and a rank sends nothing where a count is 0.
#include <mpi.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "parallel/collectives.h"

namespace tessera {
namespace {

constexpr int64_t kLongestMessage = int64_t{1}
                                    << 30;  // MPI counts are int; longer data goes in several messages
constexpr int kTag = 0;                     // messages between two ranks match in the order of posting

void check_mpi(int code, const char* operation) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(str(operation, ": MPI: ", text));
}

/// The bytes that go to one rank or come from it.
struct Share {
  char* data;
  int64_t bytes;
};

/// The messages of one exchange on their way.
class Messages {
 public:
  Messages(MPI_Comm comm, const char* operation) : comm_(comm), operation_(operation) {}

  void receive(Share share, int source) {
    for_each_piece(share.bytes, [&](int64_t begin, int length) {
      expected_.push_back(length);
      check_mpi(
          MPI_Irecv(share.data + begin, length, MPI_BYTE, source, kTag, comm_, &requests_.emplace_back()),
          operation_);
    });
  }

  /// After all receive().
  void send(Share share, int target) {
    for_each_piece(share.bytes, [&](int64_t begin, int length) {
      check_mpi(
          MPI_Isend(share.data + begin, length, MPI_BYTE, target, kTag, comm_, &requests_.emplace_back()),
          operation_);
    });
  }

  /// After a failure no memory that is given back is written any more.
  ~Messages() {
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      if (i < expected_.size()) MPI_Cancel(&requests_[i]);
      MPI_Request_free(&requests_[i]);
    }
  }
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  void wait() {
    std::vector<MPI_Status> statuses(requests_.size());
    const int code = MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), statuses.data());
    if (code == MPI_ERR_IN_STATUS) {
      for (const MPI_Status& status : statuses)
        if (status.MPI_ERROR != MPI_ERR_PENDING) check_mpi(status.MPI_ERROR, operation_);
    }
    check_mpi(code, operation_);
    for (size_t i = 0; i < expected_.size(); ++i) {
      int length = 0;
      check_mpi(MPI_Get_count(&statuses[i], MPI_BYTE, &length), operation_);
      TESSERA_CHECK(length == expected_[i], operation_, ": rank ", statuses[i].MPI_SOURCE, " sent ", length,
                    " bytes, expected ", expected_[i]);
    }
  }

 private:
  template <class Action>
  static void for_each_piece(int64_t bytes, const Action& action) {
    for (int64_t begin = 0; begin < bytes; begin += kLongestMessage)
      action(begin, static_cast<int>(std::min(kLongestMessage, bytes - begin)));
  }

  MPI_Comm comm_;
  const char* operation_;
  std::vector<MPI_Request> requests_;  ///< receives, then sends
  std::vector<int> expected_;          ///< bytes of each receive
};

/// Shares of a tensor, end to end in rank order.
std::vector<Share> shares_of(const Tensor& tensor, std::span<const int64_t> counts) {
  std::vector<Share> shares;
  char* data = static_cast<char*>(tensor.bytes_data());
  for (int64_t count : counts) {
    shares.push_back({data, count * bytes_of(tensor.dtype())});
    data += shares.back().bytes;
  }
  return shares;
}

bool has_storage(const Tensor& tensor) { return tensor.device().backend != Backend::meta; }

class MpiCommunicator final : public Communicator {
 public:
  /// Owns comm.
  explicit MpiCommunicator(MPI_Comm comm) : comm_(comm) {
    check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "communicator");
    check_mpi(MPI_Comm_rank(comm_, &rank_), "communicator");
    check_mpi(MPI_Comm_size(comm_, &size_), "communicator");
  }
  ~MpiCommunicator() override { MPI_Comm_free(&comm_); }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Communicator> split(int color, int key) override {
    check_split(color);
    MPI_Comm part = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split(comm_, color, key, &part), "split");
    return std::make_unique<MpiCommunicator>(part);
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream) override {
    check_all_gather(part, whole, size_);
    if (!has_storage(part)) return {whole, [](Stream) {}};
    const auto ranks = static_cast<size_t>(size_);
    const std::vector<int64_t> counts(ranks, part.count());
    const std::vector<Share> same(ranks, {static_cast<char*>(part.bytes_data()), part.bytes()});
    return exchange("all_gather", part, same, whole, shares_of(whole, counts));
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream) override {
    check_all_to_all(send, send_counts, receive, receive_counts, size_);
    if (!has_storage(send)) return {receive, [](Stream) {}};
    return exchange("all_to_all", send, shares_of(send, send_counts), receive,
                    shares_of(receive, receive_counts));
  }

  void broadcast(Tensor data, int root) override {
    check_broadcast(root, size_);
    if (!has_storage(data)) return;
    char* bytes = static_cast<char*>(data.bytes_data());
    for (int64_t begin = 0; begin < data.bytes(); begin += kLongestMessage) {
      const auto length = static_cast<int>(std::min(kLongestMessage, data.bytes() - begin));
      check_mpi(MPI_Bcast(bytes + begin, length, MPI_BYTE, root, comm_), "broadcast");
    }
  }

  void barrier() override { check_mpi(MPI_Barrier(comm_), "barrier"); }

 private:
  /// Rank r's partners are taken in the order r + 1, r + 2, ..., so that not all ranks turn to the same one at once.
  Pending<Tensor> exchange(const char* operation, Tensor send, const std::vector<Share>& out, Tensor receive,
                           const std::vector<Share>& in) {
    const Share own_out = out[static_cast<size_t>(rank_)], own_in = in[static_cast<size_t>(rank_)];
    TESSERA_CHECK(own_out.bytes == own_in.bytes, operation, ": rank ", rank_, " sends ", own_out.bytes,
                  " bytes to itself and expects ", own_in.bytes);
    auto messages = std::make_shared<Messages>(comm_, operation);
    for (int distance = 1; distance < size_; ++distance) {
      const int source = (rank_ + size_ - distance) % size_;
      messages->receive(in[static_cast<size_t>(source)], source);
    }
    for (int distance = 1; distance < size_; ++distance) {
      const int target = (rank_ + distance) % size_;
      messages->send(out[static_cast<size_t>(target)], target);
    }
    std::memmove(own_in.data, own_out.data, static_cast<size_t>(own_out.bytes));
    return {std::move(receive), [messages, send = std::move(send)](Stream) { messages->wait(); }};
  }

  MPI_Comm comm_;
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<Communicator> mpi_world() {
  MPI_Comm world = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &world), "mpi_world");
  return std::make_unique<MpiCommunicator>(world);
}

}  // namespace tessera
