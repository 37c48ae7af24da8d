#include "runtime/arena.h"

#include <algorithm>
#include <iterator>

namespace tessera {

void Arena::add_free(int64_t begin, int64_t size) {
  free_.emplace(begin, size);
  by_size_.emplace(size, begin);
}

void Arena::remove_free(std::map<int64_t, int64_t>::iterator block) {
  by_size_.erase({block->second, block->first});
  free_.erase(block);
}

int64_t Arena::top() const {
  const int64_t end = statistics_.held_bytes;
  if (free_.empty()) return end;
  const auto [begin, size] = *free_.rbegin();
  return begin + size == end ? begin : end;
}

int64_t Arena::grown(int64_t bytes) const {
  const int64_t size = rounded(bytes);
  return by_size_.lower_bound({size, 0}) == by_size_.end() ? top() + size : 0;
}

int64_t Arena::take(int64_t bytes) {
  const int64_t size = rounded(bytes);
  const auto fitting = by_size_.lower_bound({size, 0});
  int64_t begin = 0;
  if (fitting != by_size_.end()) {
    const auto block = free_.find(fitting->second);
    begin = block->first;
    const int64_t left = block->second - size;
    remove_free(block);
    if (left > 0) add_free(begin + size, left);
  } else {
    begin = top();
    if (begin < statistics_.held_bytes) remove_free(std::prev(free_.end()));
    statistics_.held_bytes = begin + size;
    ++statistics_.growths;
  }
  statistics_.live_bytes += size;
  statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.live_bytes);
  return begin;
}

void Arena::give_back(int64_t begin, int64_t bytes) {
  int64_t size = rounded(bytes);
  statistics_.live_bytes -= size;
  auto after = free_.lower_bound(begin);
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      begin = before->first;
      size += before->second;
      remove_free(before);
    }
  }
  if (after != free_.end() && begin + size == after->first) {
    size += after->second;
    remove_free(after);
  }
  add_free(begin, size);
}

}  // namespace tessera
