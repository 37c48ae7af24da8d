#pragma once
// What decorators of communicators have in common: a group inside, to which they pass on what they do not change.

#include <memory>
#include <utility>

#include "parallel/communicator.h"

namespace tessera {

/// Passes everything on.  split() gives a group that is not decorated, unless a decorator says otherwise.
class Forwarding : public Communicator {
 public:
  /// inner must outlive this.
  explicit Forwarding(Communicator& inner) : inner_(inner) {}
  explicit Forwarding(std::unique_ptr<Communicator> inner) : owned_(std::move(inner)), inner_(*owned_) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return inner_.split(color, key); }
  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    return inner_.all_gather(std::move(part), std::move(whole), after);
  }
  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    return inner_.all_to_all(std::move(send), send_counts, std::move(receive), receive_counts, after);
  }
  void broadcast(Tensor data, int root) override { inner_.broadcast(std::move(data), root); }
  void barrier() override { inner_.barrier(); }
  void progress_in_background() override { inner_.progress_in_background(); }
  void about(const std::string& purpose) override { inner_.about(purpose); }

 private:
  std::unique_ptr<Communicator> owned_;

 protected:
  Communicator& inner_;
};

}  // namespace tessera
