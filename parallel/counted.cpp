#include "parallel/counted.h"

#include <utility>

namespace tessera {
namespace {

class Counted final : public Communicator {
 public:
  Counted(Communicator& inner, Traffic& sent) : inner_(inner), sent_(sent) {}
  Counted(std::unique_ptr<Communicator> inner, Traffic& sent)
      : owned_(std::move(inner)), inner_(*owned_), sent_(sent) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<Counted>(inner_.split(color, key), sent_);
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    add(part.bytes() * (size() - 1));
    return inner_.all_gather(std::move(part), std::move(whole), after);
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    int64_t elements = 0;
    for (int to = 0; to < size(); ++to)
      if (to != rank()) elements += send_counts[static_cast<size_t>(to)];
    add(elements * bytes_of(send.dtype()));
    return inner_.all_to_all(std::move(send), send_counts, std::move(receive), receive_counts, after);
  }

  void broadcast(Tensor data, int root) override {
    if (rank() == root) add(data.bytes() * (size() - 1));
    inner_.broadcast(std::move(data), root);
  }

  void barrier() override { inner_.barrier(); }

  void about(const std::string& purpose) override {
    purpose_ = purpose;
    inner_.about(purpose);
  }

 private:
  void add(int64_t bytes) { sent_[purpose_] += bytes; }

  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
  Traffic& sent_;
  std::string purpose_;
};

}  // namespace

std::unique_ptr<Communicator> counted(Communicator& inner, Traffic& sent) {
  return std::make_unique<Counted>(inner, sent);
}

}  // namespace tessera
