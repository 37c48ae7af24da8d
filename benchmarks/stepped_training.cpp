#include "benchmarks/stepped_training.h"

#include <filesystem>

#include "launch/train.h"
#include "parallel/forwarding.h"
#include "runtime/error.h"

namespace tessera::benchmarks {

/// Stops the training's thread at the first collective after a new line of metrics.
class SteppedTraining::Turnstile final : public Forwarding {
 public:
  Turnstile(Communicator& inner, SteppedTraining& training)
      : Forwarding(inner), training_(training), metrics_(training.config_.out + "/metrics.jsonl") {}

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    std::error_code missing;
    const std::uintmax_t bytes = std::filesystem::file_size(metrics_, missing);
    if (!missing && bytes > seen_) {
      seen_ = bytes;
      training_.pass();
    }
    return inner_.all_gather(std::move(part), std::move(whole), after);
  }

 private:
  SteppedTraining& training_;
  const std::string metrics_;
  std::uintmax_t seen_ = 0;
};

SteppedTraining::SteppedTraining(Config config) : config_(std::move(config)) {}

SteppedTraining::~SteppedTraining() {
  try {
    finish();
  } catch (const std::exception&) {  // somebody saw it in run(), or is unwinding
  }
}

void SteppedTraining::train() {
  try {
    run_ranks(1, [&](Communicator& world) {
      Turnstile turnstile(world, *this);
      tessera::train(config_, turnstile);
    });
  } catch (...) {
    const std::lock_guard hold(lock_);
    failure_ = std::current_exception();
  }
  const std::lock_guard hold(lock_);
  ended_ = true;
  changed_.notify_all();
}

void SteppedTraining::pass() {
  std::unique_lock hold(lock_);
  ++done_;
  changed_.notify_all();
  changed_.wait(hold, [&] { return done_ < asked_ || released_; });
}

void SteppedTraining::run(int64_t steps) {
  std::unique_lock hold(lock_);
  asked_ += steps;
  changed_.notify_all();
  if (!thread_.joinable()) thread_ = std::thread([this] { train(); });
  changed_.wait(hold, [&] { return done_ == asked_ || ended_; });
  if (failure_) std::rethrow_exception(failure_);
  TESSERA_CHECK(done_ == asked_, "stepped training: ", config_.out, " has ended after ", done_, " steps");
}

void SteppedTraining::finish() {
  {
    const std::lock_guard hold(lock_);
    released_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace tessera::benchmarks
