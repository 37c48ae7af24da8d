#include "parallel/checkpoint_reader.h"

#include <algorithm>

namespace tessera {

CheckpointReader::CheckpointReader(std::string checkpoint, const CheckpointManifest& manifest)
    : checkpoint_(std::move(checkpoint)) {
  for (const CheckpointFile& file : manifest.files)
    for (const CheckpointRange& range : file.ranges)
      stored_[range.parameter].push_back({range.begin, range.begin + range.count, file.name});
  for (auto& [name, ranges] : stored_) std::ranges::sort(ranges, {}, &Stored::begin);
}

void CheckpointReader::read(const std::string& group, const std::string& parameter, int64_t begin,
                            std::span<float> values) {
  const int64_t end = begin + std::ssize(values);
  int64_t at = begin;
  for (const Stored& stored : stored_[parameter]) {
    if (at == end) return;
    if (stored.end <= at || stored.begin > at) continue;
    const int64_t stop = std::min(stored.end, end);
    const hdf5::File& file = open(stored.file);
    const std::string name = group + parameter;
    const hdf5::Dataset dataset = file.dataset(name);
    const auto first = file.attribute<int64_t>(name, "begin");
    TESSERA_CHECK(first == stored.begin && dataset.count() == stored.end - stored.begin, file.path(), ": ",
                  name, " holds [", first, ", ", first + dataset.count(), "), the manifest says [",
                  stored.begin, ", ", stored.end, ")");
    dataset.read(at - stored.begin,
                 values.subspan(static_cast<size_t>(at - begin), static_cast<size_t>(stop - at)));
    at = stop;
  }
  TESSERA_CHECK(at == end, group, parameter, ": element ", at, " is in no file");
}

const hdf5::File& CheckpointReader::open(const std::string& name) {
  const auto found = files_.find(name);
  return found != files_.end()
             ? found->second
             : files_.emplace(name, hdf5::File::open(checkpoint_ + "/" + name)).first->second;
}

}  // namespace tessera
