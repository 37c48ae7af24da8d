// Ranks as MPI processes.  Exchanges are point-to-point messages, as they are inside Open MPI's nonblocking collectives too;
// that way counts are not bound to int and a rank sends nothing where a count is 0.
//
// Open MPI moves data only while it is called (`ompi_info`: OMPI progress: no), which a thread can do while the rank computes.
// One lock around all calls keeps to MPI_THREAD_SERIALIZED.
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
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

class Messages;

/// What the communicators of a process share: the right to call MPI, and the thread that does so while nobody else does.
class Calls {
 public:
  Calls() = default;
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;
  ~Calls() {
    {
      const auto hold = lock();
      stopping_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(lock_); }

  void start_thread() {
    int level = MPI_THREAD_SINGLE;
    check_mpi(MPI_Query_thread(&level), "progress_in_background");
    TESSERA_CHECK(level >= MPI_THREAD_SERIALIZED,
                  "comm.progress: thread needs MPI_THREAD_SERIALIZED, this MPI gives level ", level,
                  "; use none");
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }

  /// The thread, where there is one, tests messages until they are over or forgotten.  The caller holds the lock.
  void watch(Messages& messages) {
    if (!thread_.joinable()) return;
    watched_.push_back(&messages);
    changed_.notify_one();
  }
  void forget(Messages& messages) { std::erase(watched_, &messages); }  ///< the caller holds the lock

 private:
  void run();

  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<Messages*> watched_;  ///< guarded by lock_
  bool stopping_ = false;           ///< guarded by lock_
  std::thread thread_;
};

/// The messages of one exchange on their way.
class Messages {
 public:
  Messages(MPI_Comm comm, const char* operation, std::shared_ptr<Calls> calls)
      : comm_(comm), operation_(operation), calls_(std::move(calls)) {}

  /// The caller of receive(), send() and test() holds the lock.
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
    const auto hold = calls_->lock();
    calls_->forget(*this);
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      if (i < expected_.size()) MPI_Cancel(&requests_[i]);
      MPI_Request_free(&requests_[i]);
    }
  }
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  /// Lets them go on; true when they have arrived or failed, which wait() then says.
  bool test() {
    if (over_) return true;
    int arrived = 0;
    statuses_.resize(requests_.size());
    code_ = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &arrived, statuses_.data());
    return over_ = arrived || code_ != MPI_SUCCESS;
  }

  void wait() {
    const auto hold = calls_->lock();
    // Not MPI_Waitall(): in Open MPI 4.1.4 at MPI_THREAD_SERIALIZED it never returns when a message is truncated.
    while (!test()) {
    }
    if (code_ == MPI_ERR_IN_STATUS) {
      for (const MPI_Status& status : statuses_)
        if (status.MPI_ERROR != MPI_ERR_PENDING) check_mpi(status.MPI_ERROR, operation_);
    }
    check_mpi(code_, operation_);
    for (size_t i = 0; i < expected_.size(); ++i) {
      int length = 0;
      check_mpi(MPI_Get_count(&statuses_[i], MPI_BYTE, &length), operation_);
      TESSERA_CHECK(length == expected_[i], operation_, ": rank ", statuses_[i].MPI_SOURCE, " sent ", length,
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
  const std::shared_ptr<Calls> calls_;
  std::vector<MPI_Request> requests_;  ///< receives, then sends
  std::vector<int> expected_;          ///< bytes of each receive
  std::vector<MPI_Status> statuses_;
  int code_ = MPI_SUCCESS;
  bool over_ = false;
};

void Calls::run() {
  // A pause leaves the core to computation; what a network brings meanwhile fits into the buffers of its sockets.
  constexpr std::chrono::microseconds kPause{50};
  std::unique_lock hold(lock_);
  while (!stopping_) {
    std::erase_if(watched_, [](Messages* messages) { return messages->test(); });
    if (watched_.empty())
      changed_.wait(hold, [this] { return stopping_ || !watched_.empty(); });
    else
      changed_.wait_for(hold, kPause, [this] { return stopping_; });
  }
}

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
  /// Owns comm.  The caller holds the lock.
  MpiCommunicator(MPI_Comm comm, std::shared_ptr<Calls> calls) : comm_(comm), calls_(std::move(calls)) {
    check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "communicator");
    check_mpi(MPI_Comm_rank(comm_, &rank_), "communicator");
    check_mpi(MPI_Comm_size(comm_, &size_), "communicator");
  }
  ~MpiCommunicator() override {
    const auto hold = calls_->lock();
    MPI_Comm_free(&comm_);
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Communicator> split(int color, int key) override {
    check_split(color);
    const auto hold = calls_->lock();
    MPI_Comm part = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split(comm_, color, key, &part), "split");
    return std::make_unique<MpiCommunicator>(part, calls_);
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream) override {
    check_all_gather(part, whole, size_);
    if (!has_storage(part)) return {whole, [part](Stream) {}};
    const auto ranks = static_cast<size_t>(size_);
    const std::vector<int64_t> counts(ranks, part.count());
    const std::vector<Share> same(ranks, {static_cast<char*>(part.bytes_data()), part.bytes()});
    return exchange("all_gather", part, same, whole, shares_of(whole, counts));
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream) override {
    check_all_to_all(send, send_counts, receive, receive_counts, size_);
    if (!has_storage(send)) return {receive, [send](Stream) {}};
    return exchange("all_to_all", send, shares_of(send, send_counts), receive,
                    shares_of(receive, receive_counts));
  }

  void broadcast(Tensor data, int root) override {
    check_broadcast(root, size_);
    if (!has_storage(data)) return;
    const auto hold = calls_->lock();
    char* bytes = static_cast<char*>(data.bytes_data());
    for (int64_t begin = 0; begin < data.bytes(); begin += kLongestMessage) {
      const auto length = static_cast<int>(std::min(kLongestMessage, data.bytes() - begin));
      check_mpi(MPI_Bcast(bytes + begin, length, MPI_BYTE, root, comm_), "broadcast");
    }
  }

  void barrier() override {
    const auto hold = calls_->lock();
    check_mpi(MPI_Barrier(comm_), "barrier");
  }

  void progress_in_background() override { calls_->start_thread(); }

 private:
  /// Rank r's partners are taken in the order r + 1, r + 2, ..., so that not all ranks turn to the same one at once.
  Pending<Tensor> exchange(const char* operation, Tensor send, const std::vector<Share>& out, Tensor receive,
                           const std::vector<Share>& in) {
    const Share own_out = out[static_cast<size_t>(rank_)], own_in = in[static_cast<size_t>(rank_)];
    TESSERA_CHECK(own_out.bytes == own_in.bytes, operation, ": rank ", rank_, " sends ", own_out.bytes,
                  " bytes to itself and expects ", own_in.bytes);
    auto messages = std::make_shared<Messages>(comm_, operation, calls_);
    {
      const auto hold = calls_->lock();
      for (int distance = 1; distance < size_; ++distance) {
        const int source = (rank_ + size_ - distance) % size_;
        messages->receive(in[static_cast<size_t>(source)], source);
      }
      for (int distance = 1; distance < size_; ++distance) {
        const int target = (rank_ + distance) % size_;
        messages->send(out[static_cast<size_t>(target)], target);
      }
      calls_->watch(*messages);
    }
    std::memmove(own_in.data, own_out.data, static_cast<size_t>(own_out.bytes));
    return {std::move(receive), [messages, send = std::move(send)](Stream) { messages->wait(); }};
  }

  MPI_Comm comm_;
  std::shared_ptr<Calls> calls_;
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<Communicator> mpi_world() {
  auto calls = std::make_shared<Calls>();
  const auto hold = calls->lock();
  MPI_Comm world = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &world), "mpi_world");
  return std::make_unique<MpiCommunicator>(world, calls);
}

}  // namespace tessera
