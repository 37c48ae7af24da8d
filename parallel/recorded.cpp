#include "parallel/recorded.h"

#include <utility>

#include "parallel/forwarding.h"
#include "runtime/random.h"

namespace tessera {
namespace {

class Recorded final : public Forwarding {
 public:
  template <class Inner>
  Recorded(Inner&& inner, FlightRecorder& recorder, uint64_t group)
      : Forwarding(std::forward<Inner>(inner)), recorder_(recorder), group_(group) {
    join();
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    const Entry entry = enter({.operation = FlightOperation::split, .count = color, .result = key});
    std::unique_ptr<Communicator> part = inner_.split(color, key);
    done(entry);
    const uint64_t place = ++splits_ << 32 | static_cast<uint32_t>(color);
    return std::make_unique<Recorded>(std::move(part), recorder_,
                                      random_u64(group_, Purpose("split"), place));
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    const Entry entry = enter({.operation = FlightOperation::all_gather,
                               .dtype = part.dtype(),
                               .count = part.count(),
                               .result = whole.count()});
    return follow(entry, whole, inner_.all_gather(std::move(part), whole, after));
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    const Entry entry = enter({.operation = FlightOperation::all_to_all,
                               .dtype = send.dtype(),
                               .count = send.count(),
                               .result = receive.count()});
    return follow(entry, receive,
                  inner_.all_to_all(std::move(send), send_counts, receive, receive_counts, after));
  }

  void broadcast(Tensor data, int root) override {
    const Entry entry = enter({.operation = FlightOperation::broadcast,
                               .dtype = data.dtype(),
                               .count = data.count(),
                               .result = root});
    inner_.broadcast(std::move(data), root);
    done(entry);
  }

  void barrier() override {
    const Entry entry = enter({.operation = FlightOperation::barrier});
    inner_.barrier();
    done(entry);
  }

  void about(const std::string& purpose) override {
    about_ = purpose;
    about_phase_ = recorder_.phases();
    inner_.about(purpose);
  }

 private:
  struct Entry {
    FlightCollective collective;
    std::string about;
  };
  /// An exchange that has been started.
  struct Flight {
    Entry entry;
    Pending<Tensor> pending;
  };

  void join() {
    recorder_.join({group_, static_cast<uint32_t>(inner_.size()), static_cast<uint32_t>(inner_.rank())});
  }

  void done(const Entry& entry) { recorder_.done(entry.collective, entry.about); }

  Entry enter(FlightCollective collective) {
    collective.group = group_;
    collective.sequence = ++sequence_;
    Entry entry{collective, about_phase_ == recorder_.phases() ? about_ : std::string()};
    recorder_.enter(entry.collective, entry.about);
    return entry;
  }

  Pending<Tensor> follow(Entry entry, Tensor result, Pending<Tensor> pending) {
    recorder_.under_way();
    const auto flight = std::make_shared<Flight>(std::move(entry), std::move(pending));
    return {std::move(result), [this, flight](Stream consumer) {
              recorder_.wait(flight->entry.collective);
              (void)std::move(flight->pending).wait(consumer);
              done(flight->entry);
            }};
  }

  FlightRecorder& recorder_;
  uint64_t group_, sequence_ = 0, splits_ = 0;
  std::string about_;
  uint64_t about_phase_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> recorded(Communicator& inner, FlightRecorder& recorder,
                                       const std::string& name) {
  return std::make_unique<Recorded>(inner, recorder, Purpose(name).id);
}

}  // namespace tessera
