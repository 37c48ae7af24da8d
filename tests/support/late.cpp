#include "tests/support/late.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "parallel/forwarding.h"
#include "runtime/cpu_engine.h"

namespace tessera {
namespace {

std::vector<std::byte> bytes_in(const Tensor& tensor) {
  const auto* bytes = static_cast<const std::byte*>(tensor.bytes_data());
  return {bytes, bytes + tensor.bytes()};
}

class Late final : public Forwarding {
 public:
  using Forwarding::Forwarding;

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<Late>(inner_.split(color, key));
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    Tensor hidden = Tensor::empty(whole.shape(), whole.dtype(), memory_->stream());
    return delivered_late("all_gather", inner_.all_gather(part, std::move(hidden), after), part, whole);
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    Tensor hidden = Tensor::empty(receive.shape(), receive.dtype(), memory_->stream());
    return delivered_late("all_to_all",
                          inner_.all_to_all(send, send_counts, std::move(hidden), receive_counts, after),
                          send, receive);
  }

 private:
  Pending<Tensor> delivered_late(const char* operation, Pending<Tensor> arriving, const Tensor& send,
                                 const Tensor& room) const {
    std::fill_n(static_cast<std::byte*>(room.bytes_data()), room.bytes(), std::byte{0xff});
    const auto hidden = std::make_shared<Pending<Tensor>>(std::move(arriving));
    return {room, [operation, memory = memory_, hidden, send, sent = bytes_in(send), room](Stream consumer) {
              TESSERA_CHECK(bytes_in(send) == sent, operation, ": the send buffer was written before wait()");
              copy(std::move(*hidden).wait(consumer), room);
            }};
  }

  const std::shared_ptr<CpuEngine> memory_ = std::make_shared<CpuEngine>(1, Isa::avx2);  ///< of what arrives
};

}  // namespace

std::unique_ptr<Communicator> late(std::unique_ptr<Communicator> inner) {
  return std::make_unique<Late>(std::move(inner));
}

}  // namespace tessera
