#pragma once
// How many threads a setting asks for.

#include <algorithm>
#include <thread>

namespace tessera {

/// threads, or one per processor where that is 0.
inline int thread_count(int threads) {
  return threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace tessera
