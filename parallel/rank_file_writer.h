#pragma once
// One HDF5 file, written by a thread of its own from values that another thread hands over.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tessera {

/// Elements [offset, offset + values.size()) of a dataset f32 [count] with attribute "begin".
struct StagedValues {
  std::string dataset;
  int64_t count = 0, begin = 0, offset = 0;
  std::vector<float> values;

  int64_t bytes() const { return std::ssize(values) * static_cast<int64_t>(sizeof(float)); }
};

class RankFileWriter {
 public:
  /// What is staged and not yet written takes staging_bytes at most (or one handed-over value array, if that is larger).
  RankFileWriter(std::string path, int64_t staging_bytes);
  ~RankFileWriter();  ///< joins the thread; what is not written then is given up
  RankFileWriter(const RankFileWriter&) = delete;
  RankFileWriter& operator=(const RankFileWriter&) = delete;

  /// Waits for room.  The parts of a dataset come one after the other, in order.  After a failure nothing is kept: wait()
  /// tells.
  void put(StagedValues values);
  /// Nothing more comes.
  void end();
  /// True when wait() would not block.
  bool ended();

  struct Written {
    int64_t bytes = 0;
    std::string xxh3;
  };
  /// Size and checksum of the file when it is on the disk, after end().  Rethrows what went wrong.
  Written wait();

 private:
  void run();
  bool next(StagedValues& values);

  const std::string path_;
  const int64_t staging_bytes_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<StagedValues> staged_;           ///< guarded by lock_, like all below
  int64_t staged_bytes_ = 0;                  ///< the one being written included
  bool complete_ = false, given_up_ = false;  ///< nothing more comes; nobody wants it
  bool ended_ = false;
  std::exception_ptr failure_;
  Written written_;
  std::thread thread_;
};

}  // namespace tessera
