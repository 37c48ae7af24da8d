#include "parallel/checkpoint_saver.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "parallel/agree.h"
#include "parallel/checkpoint_tensors.h"
#include "parallel/rank_file_writer.h"
#include "runtime/trace.h"

namespace tessera {
namespace {

constexpr int64_t kLargestChunk = 16 << 20;  ///< bytes: long enough for a disk, short beside a staging buffer
constexpr int64_t kStagingBytes = 64 << 20;  ///< of save_checkpoint()

double seconds_since(int64_t began_ns) { return static_cast<double>(Trace::now_ns() - began_ns) * 1e-9; }

/// By (parameter, begin, count), the first rank that holds the range.
std::map<std::tuple<std::string, int64_t, int64_t>, size_t> writers_of(
    const std::vector<CheckpointPart>& parts) {
  std::map<std::tuple<std::string, int64_t, int64_t>, size_t> writers;
  for (size_t rank = 0; rank < parts.size(); ++rank)
    for (const CheckpointRange& range : parts[rank].file.ranges)
      writers.try_emplace({range.parameter, range.begin, range.count}, rank);
  return writers;
}

CheckpointRange range_of(const ShardPiece& piece) {
  return {piece.parameter->name, piece.begin, piece.value.count()};
}

}  // namespace

struct CheckpointSaver::Saving {
  Saving(const std::string& directory, int64_t step, Json state, int rank)
      : places(directory, step),
        step(step),
        state(std::move(state)),
        name(rank_file_name(rank)),
        began_ns(Trace::now_ns()) {}

  const CheckpointPlaces places;
  const int64_t step;
  const Json state;
  const std::string name;  ///< of this rank's file
  const int64_t began_ns;
  double held_seconds = 0;
  std::unique_ptr<RankFileWriter> writer{};  ///< none on a rank that has nothing to write
};

CheckpointSaver::CheckpointSaver(std::string directory, CheckpointTensors tensors, int64_t staging_bytes,
                                 Communicator& communicator)
    : directory_(std::move(directory)),
      tensors_(std::move(tensors)),
      staging_bytes_(staging_bytes),
      communicator_(communicator) {
  CheckpointPart mine;
  for (const ShardPiece& piece : tensors_.pieces) mine.file.ranges.push_back(range_of(piece));
  const auto writers = writers_of(gather_parts(mine, communicator_));
  for (size_t i = 0; i < tensors_.pieces.size(); ++i) {
    const CheckpointRange& range = mine.file.ranges[i];
    if (writers.at({range.parameter, range.begin, range.count}) == static_cast<size_t>(communicator_.rank()))
      written_.push_back(i);
  }
}

CheckpointSaver::~CheckpointSaver() {
  if (saving_) give_up();
}

void CheckpointSaver::give_up() {
  saving_->writer.reset();
  if (communicator_.rank() == 0) saving_->places.abandon();
  saving_.reset();
}

void CheckpointSaver::start(int64_t step, Json state) {
  TESSERA_CHECK(!saving_, "checkpoint: the save of step ", saving_->step, " is still under way");
  saving_ = std::make_unique<Saving>(directory_, step, std::move(state), communicator_.rank());
  const std::string& target = saving_->places.target();
  try {
    agree_on(target, communicator_, [&] {
      if (communicator_.rank() == 0) saving_->places.prepare();
    });
    agree_on(target, communicator_, [&] {
      if (!written_.empty()) stage();
    });
  } catch (const AgreedError&) {
    saving_->writer.reset();
    communicator_.barrier();  // nobody writes any more
    give_up();
    throw;
  }
  saving_->held_seconds = seconds_since(saving_->began_ns);
}

void CheckpointSaver::stage() {
  saving_->writer =
      std::make_unique<RankFileWriter>(saving_->places.making() + "/" + saving_->name, staging_bytes_);
  const int64_t chunk = std::min(kLargestChunk, staging_bytes_ / 2) / static_cast<int64_t>(sizeof(float));
  for (size_t i : written_) {
    const ShardPiece& piece = tensors_.pieces[i];
    for_each_tensor(tensors_, i, [&](const char* group, const Tensor& tensor) {
      for (int64_t at = 0; at < tensor.count(); at += chunk)
        saving_->writer->put({group + piece.parameter->name, tensor.count(), piece.begin, at,
                              tensor.slice(at, {std::min(chunk, tensor.count() - at)}).to_vector<float>()});
    });
  }
  saving_->writer->end();
}

std::optional<SaveTimes> CheckpointSaver::poll() {
  if (!saving_) return std::nullopt;
  const int64_t began_ns = Trace::now_ns();
  const double mine[] = {!saving_->writer || saving_->writer->ended() ? 1.0 : 0.0};
  const std::vector<double> ended = all_gather_values(communicator_, mine);
  saving_->held_seconds += seconds_since(began_ns);
  if (std::ranges::count(ended, 1.0) < std::ssize(ended)) return std::nullopt;
  return publish();
}

std::optional<SaveTimes> CheckpointSaver::finish() {
  return saving_ ? std::optional(publish()) : std::nullopt;
}

SaveTimes CheckpointSaver::publish() {
  const int64_t began_ns = Trace::now_ns();
  const std::string& target = saving_->places.target();
  CheckpointPart part{.file = {.name = saving_->name}, .parameters = parameters_of(tensors_)};
  for (size_t i : written_) part.file.ranges.push_back(range_of(tensors_.pieces[i]));
  try {
    agree_on(target, communicator_, [&] {
      if (!saving_->writer) return;
      const RankFileWriter::Written written = saving_->writer->wait();
      part.file.bytes = written.bytes;
      part.file.xxh3 = written.xxh3;
    });
    const std::vector<CheckpointPart> parts = gather_parts(part, communicator_);
    agree_on(target, communicator_, [&] {
      if (communicator_.rank() != 0) return;
      write_manifest_of(parts);
      saving_->places.publish();
    });
  } catch (const AgreedError&) {
    give_up();  // all writers have ended
    throw;
  }
  const SaveTimes times{saving_->held_seconds + seconds_since(began_ns), seconds_since(saving_->began_ns)};
  saving_.reset();
  return times;
}

void CheckpointSaver::write_manifest_of(const std::vector<CheckpointPart>& parts) const {
  CheckpointManifest manifest{.format = kCheckpointFormat,
                              .version = kCheckpointVersion,
                              .step = saving_->step,
                              .has_moments = tensors_.optimizer != nullptr};
  for (const CheckpointPart& part : parts) {
    if (!part.file.ranges.empty()) manifest.files.push_back(part.file);
    manifest.parameters.insert(part.parameters.begin(), part.parameters.end());
  }
  write_manifest(saving_->places.making(), manifest, saving_->state);
}

void save_checkpoint(const std::string& directory, int64_t step, const CheckpointTensors& tensors,
                     const Json& state, Communicator& communicator) {
  CheckpointSaver saver(directory, tensors, kStagingBytes, communicator);
  saver.start(step, state);
  saver.finish();
}

}  // namespace tessera
