#include "layers/key_value_cache.h"

namespace tessera {

KeyValueCache::KeyValueCache(const ModelConfig& config, int64_t sequences, int64_t capacity)
    : sequences_(sequences),
      capacity_(capacity),
      seen_(static_cast<size_t>(config.layers)),
      used_(static_cast<size_t>(config.layers), std::vector<int64_t>(static_cast<size_t>(sequences), 0)) {}

Tensor KeyValueCache::attend(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                             const Rows& rows) {
  const Stream stream = q.stream();
  SeenRows& seen = seen_.at(static_cast<size_t>(layer));
  if (!seen.keys) {
    const Shape all{sequences_ * capacity_, k.shape()[1], k.shape()[2]};
    seen = {Tensor::empty(all, k.dtype(), stream), Tensor::empty(all, k.dtype(), stream), capacity_};
  }
  std::vector<int32_t> places, sequences, visible;
  for (size_t segment = 0; segment + 1 < rows.segments.size(); ++segment) {
    const int64_t sequence = rows.sequences.at(segment);
    int64_t& used = used_[static_cast<size_t>(layer)].at(static_cast<size_t>(sequence));
    const int64_t count = rows.segments[segment + 1] - rows.segments[segment];
    TESSERA_CHECK(used + count <= capacity_, "key-value cache: sequence ", sequence, " has ", used, " of ",
                  capacity_, " rows, no room for ", count, " more");
    for (int64_t row = 0; row < count; ++row) {
      places.push_back(static_cast<int32_t>(sequence * capacity_ + used));
      sequences.push_back(static_cast<int32_t>(sequence));
      visible.push_back(static_cast<int32_t>(++used));
    }
  }
  const auto tensor = [&](const std::vector<int32_t>& values) {
    return Tensor::from(values, {std::ssize(values)}, stream);
  };
  remember(seen, k, v, tensor(places));
  return attend_to_seen(q, seen, tensor(sequences), tensor(visible));
}

void KeyValueCache::clear(int64_t sequence) {
  for (std::vector<int64_t>& layer : used_) layer.at(static_cast<size_t>(sequence)) = 0;
}

}  // namespace tessera
