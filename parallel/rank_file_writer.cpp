#include "parallel/rank_file_writer.h"

#include <filesystem>
#include <optional>

#include "parallel/checkpoint_files.h"
#include "runtime/hdf5.h"

namespace tessera {

RankFileWriter::RankFileWriter(std::string path, int64_t staging_bytes)
    : path_(std::move(path)), staging_bytes_(staging_bytes), thread_([this] { run(); }) {}

RankFileWriter::~RankFileWriter() {
  {
    const std::lock_guard guard(lock_);
    given_up_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void RankFileWriter::put(StagedValues values) {
  std::unique_lock guard(lock_);
  changed_.wait(guard, [&] {
    return ended_ || staged_bytes_ == 0 || staged_bytes_ + values.bytes() <= staging_bytes_;
  });
  if (ended_) return;  // it failed
  staged_bytes_ += values.bytes();
  staged_.push_back(std::move(values));
  changed_.notify_all();
}

void RankFileWriter::end() {
  const std::lock_guard guard(lock_);
  complete_ = true;
  changed_.notify_all();
}

bool RankFileWriter::ended() {
  const std::lock_guard guard(lock_);
  return ended_;
}

RankFileWriter::Written RankFileWriter::wait() {
  std::unique_lock guard(lock_);
  changed_.wait(guard, [&] { return ended_; });
  if (failure_) std::rethrow_exception(failure_);
  return written_;
}

/// Takes the next values; false at the end.  values holds the last ones on entry.
bool RankFileWriter::next(StagedValues& values) {
  std::unique_lock guard(lock_);
  staged_bytes_ -= values.bytes();
  values = {};
  changed_.notify_all();
  changed_.wait(guard, [&] { return given_up_ || complete_ || !staged_.empty(); });
  if (given_up_ || staged_.empty()) return false;
  values = std::move(staged_.front());
  staged_.pop_front();
  return true;
}

void RankFileWriter::run() {
  std::exception_ptr failure;
  Written written;
  try {
    hdf5::File file = hdf5::File::create(path_);
    std::optional<hdf5::Dataset> dataset;
    for (StagedValues values; next(values);) {
      if (values.offset == 0) {
        dataset.emplace(file.make_dataset(values.dataset, {values.count}, hdf5::Element::f32));
        file.set_attribute(values.dataset, "begin", values.begin);
      }
      dataset->write(values.offset, std::span<const float>(values.values));
    }
    dataset.reset();
    file.close();
    written = {static_cast<int64_t>(std::filesystem::file_size(path_)), checksum_of_file(path_)};
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard guard(lock_);
  failure_ = failure;
  written_ = written;
  ended_ = true;
  staged_.clear();
  changed_.notify_all();
}

}  // namespace tessera
