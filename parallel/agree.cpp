#include "parallel/agree.h"

#include <algorithm>

namespace tessera {

void agree(Communicator& communicator, const std::function<void()>& action) {
  std::string failure;
  try {
    action();
  } catch (const std::exception& error) {
    failure = error.what();
    if (failure.empty()) failure = "unknown failure";
  }
  const std::vector<std::string> failures = all_gather_strings(communicator, failure);
  const bool same = std::ranges::all_of(failures, [&](const auto& text) { return text == failures[0]; });
  for (size_t rank = 0; rank < failures.size(); ++rank)
    if (!failures[rank].empty())
      throw AgreedError(same ? failures[rank] : str("rank ", rank, ": ", failures[rank]));
}

}  // namespace tessera
