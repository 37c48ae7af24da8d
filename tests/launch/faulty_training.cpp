// A training in which one rank goes wrong once:
//   mpirun -n N faulty_training DATA OUT RANK FAULT OPERATION LAYER OCCURRENCE [KEY=VALUE...]
// On RANK, FAULT hits the collective OPERATION for LAYER (part of its purpose) at its OCCURRENCE, counted from 0; the fault
// sits above the recorder, where a wrong program would be.  After FAULT stall_read every micro-batch that a loader reads takes
// minutes, after stall_write every write of a checkpoint.
#include <dlfcn.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "launch/process.h"
#include "launch/train.h"
#include "parallel/forwarding.h"
#include "parallel/recorded.h"
#include "tests/support/tiny_run.h"

namespace tessera {
namespace {

struct Injection {
  int rank = -1;
  std::string fault, operation, layer;
  int64_t occurrence = 0;
};

/// What the files of this process do; the functions at the end of this file stand before those of the libraries.
std::atomic<bool> reads_stall{false}, writes_stall{false};

void sleep_long() { std::this_thread::sleep_for(std::chrono::minutes(2)); }

/// A collective that is issued later than it was asked for.
struct Deferred {
  void start() {
    if (!pending) pending.emplace(issue());
  }
  std::function<Pending<Tensor>()> issue;
  std::optional<Pending<Tensor>> pending{};
};

class Faulty final : public Forwarding {
 public:
  template <class Inner>
  Faulty(Inner&& inner, Injection injection)
      : Forwarding(std::forward<Inner>(inner)), injection_(std::move(injection)) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<Faulty>(inner_.split(color, key), injection_);
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    const std::string fault = next_fault("all_gather");
    if (fault == "skip") return {whole, [](Stream) {}};
    if (fault == "resize") {
      part = part.slice(0, {part.count() - 1});
      whole = whole.slice(0, {part.count() * size()});
    }
    return issue(fault, whole, [=, this] { return inner_.all_gather(part, whole, after); });
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    const std::string fault = next_fault("all_to_all");
    if (fault == "skip") return {receive, [](Stream) {}};
    std::vector<int64_t> out(send_counts.begin(), send_counts.end()),
        in(receive_counts.begin(), receive_counts.end());
    if (fault == "resize") {
      --out[static_cast<size_t>((rank() + 1) % size())];
      send = send.slice(0, {send.count() - 1});
    }
    return issue(fault, receive, [=, this] { return inner_.all_to_all(send, out, receive, in, after); });
  }

  void about(const std::string& purpose) override {
    about_ = purpose;
    inner_.about(purpose);
  }

 private:
  /// The fault that is due now, or "".
  std::string next_fault(const std::string& operation) {
    const std::string about = std::exchange(about_, "");  // collectives of the rest of the program have none
    if (operation != injection_.operation || about.find(injection_.layer) == std::string::npos) return "";
    if (seen_++ != injection_.occurrence) return "";
    const std::string& fault = injection_.fault;
    due_about_ = about;
    if (fault == "slow") sleep_long();
    if (fault == "kill") ::raise(SIGKILL);
    if (fault == "exit") ::_exit(3);
    if (fault == "stop") ::raise(SIGSTOP);
    if (fault == "throw") throw Error("injected: this rank gives up");
    if (fault == "stall_read") reads_stall = true;
    if (fault == "stall_write") writes_stall = true;
    if (fault == "extra") {
      inner_.about("nothing of use");
      const double value[] = {0};
      (void)all_gather_values(inner_, value);
      inner_.about(about);
    }
    return fault;
  }

  Pending<Tensor> issue(const std::string& fault, Tensor result, std::function<Pending<Tensor>()> call) {
    if (fault == "reorder") {
      const std::string purpose = due_about_;
      deferred_ = std::make_shared<Deferred>();
      deferred_->issue = [this, purpose, call = std::move(call)] {
        inner_.about(purpose);
        return call();
      };
      return {std::move(result), [deferred = deferred_](Stream consumer) {
                deferred->start();
                (void)std::move(*deferred->pending).wait(consumer);
              }};
    }
    Pending<Tensor> pending = call();
    if (deferred_) std::exchange(deferred_, nullptr)->start();
    return pending;
  }

  const Injection injection_;
  std::string about_, due_about_;
  int64_t seen_ = 0;
  std::shared_ptr<Deferred> deferred_;
};

bool is_of_checkpoint(int file) {
  char path[4096];
  const ssize_t length = ::readlink(str("/proc/self/fd/", file).c_str(), path, sizeof path);
  return length > 0 &&
         std::string_view(path, static_cast<size_t>(length)).find("step_") != std::string_view::npos;
}

template <class Function>
Function* original(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

int run(int argc, char** argv) {
  TESSERA_CHECK(argc >= 8, "faulty_training: expected 7 arguments, got ", argc - 1);
  const Injection injection{std::atoi(argv[3]), argv[4], argv[5], argv[6], std::atoll(argv[7])};
  return run_process(1, [&](Communicator& world) {
    Config config = tiny_run(argv[1], "1t1i");
    config.out = argv[2];
    config.steps = 40;
    config.save_every = 1000;
    config.reshard_after_forward = true;
    config.loader.micro_batches = world.size();
    Json settings = to_json(config);
    override_settings({argv + 8, argv + argc}, settings);
    from_json(settings, "command line", config);
    Flight flight(config.flight_recorder, world);
    Faulty ranks(flight.world(), world.rank() == injection.rank ? injection : Injection{});
    return flight.guard([&] { return train_recorded(config, ranks, flight); });
  });
}

}  // namespace
}  // namespace tessera

extern "C" {

// Data are read from mapped memory, where nothing can stand in between; but loaders, and nobody else, ask before each micro-batch
// how much their thread has read.
int getrusage(__rusage_who_t who, rusage* usage) noexcept {
  if (tessera::reads_stall && who == RUSAGE_THREAD) tessera::sleep_long();
  static auto* const next = tessera::original<int(__rusage_who_t, rusage*)>("getrusage");
  return next(who, usage);
}

ssize_t pwrite(int file, const void* from, size_t bytes, off_t offset) {
  if (tessera::writes_stall && tessera::is_of_checkpoint(file)) tessera::sleep_long();
  static auto* const next = tessera::original<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return next(file, from, bytes, offset);
}

}  // extern "C"

int main(int argc, char** argv) {
  try {
    return tessera::run(argc, argv);
  } catch (const std::exception& error) {
    return tessera::fail_process(error.what(), tessera::kExitError);
  }
}
