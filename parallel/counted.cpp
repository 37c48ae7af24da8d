#include "parallel/counted.h"

#include <utility>

#include "parallel/forwarding.h"

namespace tessera {
namespace {

class Counted final : public Forwarding {
 public:
  template <class Inner>
  Counted(Inner&& inner, Traffic& sent) : Forwarding(std::forward<Inner>(inner)), sent_(sent) {}

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

  void about(const std::string& purpose) override {
    purpose_ = purpose;
    inner_.about(purpose);
  }

 private:
  void add(int64_t bytes) { sent_[purpose_] += bytes; }

  Traffic& sent_;
  std::string purpose_;
};

}  // namespace

std::unique_ptr<Communicator> counted(Communicator& inner, Traffic& sent) {
  return std::make_unique<Counted>(inner, sent);
}

}  // namespace tessera
