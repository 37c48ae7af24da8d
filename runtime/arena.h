#pragma once
// Which parts of a range of bytes are taken.  Counting alone: where there is memory behind the range, Allocator has it; on
// meta there is none, and the figures are those that a processor would show.

#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace tessera {

/// What is known of memory that tensors come from.
struct MemoryStatistics {
  int64_t live_bytes = 0;  ///< handed out now
  int64_t peak_bytes = 0;  ///< most ever handed out at once
  int64_t held_bytes = 0;  ///< taken from the system; no page beyond was ever touched
  int64_t growths = 0;     ///< requests that freed blocks could not serve
};

/// Best fit: of the free blocks that are large enough the smallest serves a request, of equal ones the lowest, and the range
/// grows when there is none.  Free neighbours become one block.  The same requests in the same order give the same places.
/// Not thread-safe.  Both calls take a time that grows with the logarithm of the number of free blocks.
class Arena {
 public:
  static constexpr int64_t kAlignment = 64;

  /// What a request takes: padded by 64 bytes, so that a masked vector tail may be read, and to a multiple of 64.
  static int64_t rounded(int64_t bytes) { return (bytes + 2 * kAlignment - 1) / kAlignment * kAlignment; }

  int64_t take(int64_t bytes);  ///< where the block begins, a multiple of 64
  void give_back(int64_t begin, int64_t bytes);
  /// Where take() would grow the range to; 0 when a free block serves the request.
  int64_t grown(int64_t bytes) const;
  const MemoryStatistics& statistics() const { return statistics_; }

 private:
  int64_t top() const;  ///< where the free block at the end of the range begins, or the end
  void add_free(int64_t begin, int64_t size);
  void remove_free(std::map<int64_t, int64_t>::iterator block);

  std::map<int64_t, int64_t> free_;                ///< size by begin
  std::set<std::pair<int64_t, int64_t>> by_size_;  ///< the same blocks: size, begin
  MemoryStatistics statistics_;                    ///< held_bytes is the end of the range
};

}  // namespace tessera
