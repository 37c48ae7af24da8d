// Ranks as GPUs: tensors on devices travel over NCCL, everything else over the communicator that this one was made from.
// Collectives run on a stream of their own, between two events: after the work that was queued when they were issued, and
// before what the consumer queues after wait().
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <utility>

#include "parallel/collectives.h"
#include "runtime/cuda_engine.h"

namespace tessera {
namespace {

void check_nccl(ncclResult_t code, const char* operation) {
  if (code != ncclSuccess)
    throw Error(str(operation, ": NCCL: ", ncclGetErrorString(code), ": ", ncclGetLastError(nullptr)));
}

/// One collective on its way; keeps its tensors alive until the consumer is ordered behind it.
struct Flight {
  Flight(Tensor from, Tensor to) : send(std::move(from)), receive(std::move(to)) {}

  Tensor send, receive;
  CudaEvent ready, done;
};

class NcclCommunicator final : public Communicator {
 public:
  /// Collective over host, which must outlive this unless it is handed over in owned.
  NcclCommunicator(Communicator& host, Device device, std::unique_ptr<Communicator> owned)
      : owned_(std::move(owned)), host_(host), device_(device) {
    cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "communicator");
    ncclUniqueId id{};
    if (host.rank() == 0) check_nccl(ncclGetUniqueId(&id), "communicator");
    const std::vector<std::byte> ids = all_gather_bytes(host, std::as_bytes(std::span(&id, 1)));
    std::memcpy(&id, ids.data(), sizeof id);
    host.barrier();  // a rank that is late here would run into NCCL's own time limit, which says less
    check_nccl(ncclCommInitRank(&comm_, host.size(), id, host.rank()), "communicator");
  }
  ~NcclCommunicator() override {
    cudaStreamSynchronize(stream_);
    ncclCommDestroy(comm_);
    cudaStreamDestroy(stream_);
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    std::unique_ptr<Communicator> part = host_.split(color, key);
    Communicator& host = *part;
    return std::make_unique<NcclCommunicator>(host, device_, std::move(part));
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    check_all_gather(part, whole, size());
    if (!travels(part)) return host_.all_gather(std::move(part), std::move(whole), after);
    return fly(std::move(part), std::move(whole), after, [this](const Tensor& send, const Tensor& receive) {
      check_nccl(ncclAllGather(send.bytes_data(), receive.bytes_data(), static_cast<size_t>(send.bytes()),
                               ncclUint8, comm_, stream_),
                 "all_gather");
    });
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    check_all_to_all(send, send_counts, receive, receive_counts, size());
    if (!travels(send))
      return host_.all_to_all(std::move(send), send_counts, std::move(receive), receive_counts, after);
    return fly(std::move(send), std::move(receive), after, [&](const Tensor& out, const Tensor& in) {
      const auto* from = static_cast<const char*>(out.bytes_data());
      auto* to = static_cast<char*>(in.bytes_data());
      check_nccl(ncclGroupStart(), "all_to_all");
      for (int rank = 0; rank < size(); ++rank) {
        const auto bytes_of_rank = [&](std::span<const int64_t> counts) {
          return static_cast<size_t>(counts[static_cast<size_t>(rank)] * bytes_of(out.dtype()));
        };
        const size_t sends = bytes_of_rank(send_counts), receives = bytes_of_rank(receive_counts);
        if (sends > 0) check_nccl(ncclSend(from, sends, ncclUint8, rank, comm_, stream_), "all_to_all");
        if (receives > 0) check_nccl(ncclRecv(to, receives, ncclUint8, rank, comm_, stream_), "all_to_all");
        from += sends;
        to += receives;
      }
      check_nccl(ncclGroupEnd(), "all_to_all");
    });
  }

  void broadcast(Tensor data, int root) override {
    check_broadcast(root, size());
    if (!travels(data)) return host_.broadcast(std::move(data), root);
    const Stream stream = data.stream();
    fly(data, data, stream, [this, root](const Tensor& send, const Tensor& receive) {
      check_nccl(ncclBroadcast(send.bytes_data(), receive.bytes_data(), static_cast<size_t>(send.bytes()),
                               ncclUint8, root, comm_, stream_),
                 "broadcast");
    }).wait(stream);
  }

  void barrier() override { host_.barrier(); }

  void about(const std::string& purpose) override { host_.about(purpose); }

 private:
  /// Issues a collective on the communicator's stream; receive is whole for the stream that waits.
  template <class Issue>
  Pending<Tensor> fly(Tensor send, Tensor receive, Stream after, const Issue& issue) {
    auto flight = std::make_shared<Flight>(std::move(send), receive);
    flight->ready.record(cuda_engine_of(after).stream_handle);
    flight->ready.wait(stream_);
    issue(flight->send, flight->receive);
    flight->done.record(stream_);
    return {std::move(receive),
            [flight](Stream consumer) { flight->done.wait(cuda_engine_of(consumer).stream_handle); }};
  }
  static bool travels(const Tensor& tensor) { return tensor.device().backend == Backend::cuda; }

  std::unique_ptr<Communicator> owned_;
  Communicator& host_;
  Device device_;
  CUstream_st* stream_ = nullptr;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::string nccl_version() {
  int number = 0;
  check_nccl(ncclGetVersion(&number), "nccl_version");
  return str(number / 10000, ".", number / 100 % 100, ".", number % 100);
}

std::unique_ptr<Communicator> nccl_communicator(Communicator& host, Device device) {
  return std::make_unique<NcclCommunicator>(host, device, nullptr);
}

}  // namespace tessera
