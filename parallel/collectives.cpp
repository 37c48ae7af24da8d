#include "parallel/collectives.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace tessera {
namespace {

void check_counts(const char* side, const Tensor& tensor, std::span<const int64_t> counts, int size) {
  TESSERA_CHECK(std::ssize(counts) == size, "all_to_all: expected one ", side, " count for each of ", size,
                " ranks, got ", counts.size());
  for (int64_t count : counts)
    TESSERA_CHECK(count >= 0, "all_to_all: ", side, " counts must not be negative, got ", count);
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  TESSERA_CHECK(total == tensor.count(), "all_to_all: ", side, " counts sum to ", total,
                " but the tensor has ", tensor.count(), " elements");
}

}  // namespace

void check_all_gather(const Tensor& part, const Tensor& whole, int size) {
  TESSERA_CHECK(whole.count() == part.count() * size && whole.dtype() == part.dtype(),
                "all_gather: expected room for ", size, " parts of ", part.count(), " ", part.dtype(),
                ", got ", whole.count(), " ", whole.dtype());
}

void check_all_to_all(const Tensor& send, std::span<const int64_t> send_counts, const Tensor& receive,
                      std::span<const int64_t> receive_counts, int size) {
  TESSERA_CHECK(send.dtype() == receive.dtype(), "all_to_all: receive must be ", send.dtype(),
                " like send, got ", receive.dtype());
  check_counts("send", send, send_counts, size);
  check_counts("receive", receive, receive_counts, size);
}

void check_broadcast(int root, int size) {
  TESSERA_CHECK(0 <= root && root < size, "broadcast: root must be one of ", size, " ranks, got ", root);
}

void check_split(int color) { TESSERA_CHECK(color >= 0, "split: color must not be negative, got ", color); }

std::vector<std::byte> all_gather_bytes(Communicator& communicator, std::span<const std::byte> bytes) {
  // One byte more, so that there is an address when there are no values: ranks meet then too.
  std::vector<uint8_t> part(bytes.size() + 1),
      gathered(bytes.size() * static_cast<size_t>(communicator.size()) + 1);
  std::ranges::transform(bytes, part.begin(), [](std::byte byte) { return static_cast<uint8_t>(byte); });
  const Tensor mine = Tensor::over(std::span(part).first(bytes.size())),
               whole = Tensor::over(std::span(gathered).first(gathered.size() - 1));
  static_cast<void>(communicator.all_gather(mine, whole, whole.stream()).wait(whole.stream()));
  const auto all = std::as_bytes(std::span(gathered)).first(gathered.size() - 1);
  return {all.begin(), all.end()};
}

std::vector<double> all_gather_values(Communicator& communicator, std::span<const double> values) {
  const std::vector<std::byte> bytes = all_gather_bytes(communicator, std::as_bytes(values));
  std::vector<double> gathered(bytes.size() / sizeof(double));
  if (!bytes.empty()) std::memcpy(gathered.data(), bytes.data(), bytes.size());
  return gathered;
}

std::vector<std::string> all_gather_strings(Communicator& communicator, const std::string& text) {
  const double length = static_cast<double>(text.size());
  const std::vector<double> lengths = all_gather_values(communicator, {&length, 1});
  const auto longest = static_cast<size_t>(*std::max_element(lengths.begin(), lengths.end()));
  std::string padded = text;
  padded.resize(longest);
  const std::vector<std::byte> bytes = all_gather_bytes(communicator, std::as_bytes(std::span(padded)));
  std::vector<std::string> texts;
  for (size_t rank = 0; rank < lengths.size(); ++rank)
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()) + rank * longest,
                       static_cast<size_t>(lengths[rank]));
  return texts;
}

}  // namespace tessera
