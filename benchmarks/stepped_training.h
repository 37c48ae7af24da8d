#pragma once
// A training whose steps somebody else asks for.

#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

#include "launch/config.h"

namespace tessera::benchmarks {

/// launch/train.h on one rank, on a thread of its own that waits between steps.  A step ends here when it has written its line
/// of metrics; what the training does after that, saving, belongs to the next one.
class SteppedTraining {
 public:
  /// The run has config.stop_at steps.
  explicit SteppedTraining(Config config);
  ~SteppedTraining();  ///< lets the run go on to its end
  SteppedTraining(const SteppedTraining&) = delete;
  SteppedTraining& operator=(const SteppedTraining&) = delete;

  const Config& config() const { return config_; }

  /// Returns when so many more steps are done; the first call starts the run.  Throws what the training threw, and Error when it
  /// has ended.
  void run(int64_t steps);
  /// Lets the run go on to its end and waits for it.  Throws what the training threw.
  void finish();

 private:
  class Turnstile;
  void train();
  void pass();  ///< of the training's thread, after a step: waits for the next to be asked for

  const Config config_;
  std::mutex lock_;
  std::condition_variable changed_;
  int64_t asked_ = 0, done_ = 0;  ///< guarded by lock_; steps
  bool released_ = false;         ///< guarded by lock_
  bool ended_ = false;            ///< guarded by lock_
  std::exception_ptr failure_;    ///< guarded by lock_
  std::thread thread_;
};

}  // namespace tessera::benchmarks
