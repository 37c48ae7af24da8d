// A communicator that leaves time ranges in a trace.
#include <utility>

#include "parallel/forwarding.h"

namespace tessera {
namespace {

class Traced final : public Forwarding {
  // Before its uses, which need its type.
  template <class Action>
  auto blocking(const char* operation, const Action& action) {
    const TraceRange wait(trace_, "wait_for_collective");
    const TraceRange traffic(trace_, name_of(operation), Track::communication);
    return action();
  }

 public:
  template <class Inner>
  Traced(Inner&& inner, Trace& trace) : Forwarding(std::forward<Inner>(inner)), trace_(trace) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    return blocking("split", [&] { return std::make_unique<Traced>(inner_.split(color, key), trace_); });
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    return under_way("all_gather", whole, [&] { return inner_.all_gather(part, whole, after); });
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    return under_way("all_to_all", receive,
                     [&] { return inner_.all_to_all(send, send_counts, receive, receive_counts, after); });
  }

  void broadcast(Tensor data, int root) override {
    blocking("broadcast", [&] { inner_.broadcast(std::move(data), root); });
  }

  void barrier() override {
    blocking("barrier", [&] { inner_.barrier(); });
  }

  void about(const std::string& purpose) override {
    inner_.about(purpose);
    purpose_ = purpose.empty() || !trace_.running() ? nullptr : trace_.keep(purpose);
  }

 private:
  template <class Start>
  Pending<Tensor> under_way(const char* operation, Tensor result, const Start& start) {
    if (!trace_.running()) return start();
    const int64_t begin = Trace::now_ns();
    std::shared_ptr<Pending<Tensor>> pending;
    {
      const TraceRange range(trace_, "start_collective");
      pending = std::make_shared<Pending<Tensor>>(start());
    }
    return {std::move(result), [pending, name = name_of(operation), begin, &trace = trace_](Stream consumer) {
              {
                const TraceRange range(trace, "wait_for_collective");
                std::move(*pending).wait(consumer);
              }
              trace.record(name, begin, Trace::now_ns(), Track::communication);
            }};
  }

  const char* name_of(const char* operation) const { return purpose_ ? purpose_ : operation; }

  Trace& trace_;
  const char* purpose_ = nullptr;  ///< kept by the trace
};

}  // namespace

std::unique_ptr<Communicator> traced(Communicator& inner, Trace& trace) {
  return std::make_unique<Traced>(inner, trace);
}

}  // namespace tessera
