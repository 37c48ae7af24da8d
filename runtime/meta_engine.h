#pragma once
// What a meta stream may stand for: an account of the memory that its tensors would take on a processor.

#include <array>
#include <utility>

#include "runtime/arena.h"
#include "runtime/device.h"

namespace tessera {

/// What tensors are for.
enum class MemoryUse : uint8_t { parameters, gradients, moments, communication, activations, scratch };
using MemoryByUse = std::array<int64_t, 6>;  ///< bytes

/// Bytes that a matrix product takes besides its operands.
struct ProductScratch {
  int64_t plain = 0;
  int64_t waiting = 0;  ///< where bf16 results wait unrounded for the rest of long sums
};

class MetaEngine {
 public:
  struct Block {
    int64_t begin = 0;
    MemoryUse use{};
  };

  explicit MetaEngine(ProductScratch product_scratch = {}) : product_scratch_(product_scratch) {}

  Stream stream() { return {{Backend::meta, 0}, this}; }
  const ProductScratch& product_scratch() const { return product_scratch_; }

  Block take(int64_t bytes) {
    const int64_t peak = memory_.statistics().peak_bytes;
    const Block block{memory_.take(bytes), use_};
    live_[static_cast<size_t>(block.use)] += Arena::rounded(bytes);
    if (memory_.statistics().peak_bytes > peak) at_peak_ = live_;
    return block;
  }
  void give_back(Block block, int64_t bytes) {
    memory_.give_back(block.begin, bytes);
    live_[static_cast<size_t>(block.use)] -= Arena::rounded(bytes);
  }

  const MemoryStatistics& statistics() const { return memory_.statistics(); }
  const MemoryByUse& at_peak() const { return at_peak_; }  ///< what the largest sum was made of

 private:
  friend class MemoryFor;
  const ProductScratch product_scratch_;
  Arena memory_;
  MemoryUse use_ = MemoryUse::activations;
  MemoryByUse live_{}, at_peak_{};
};

/// The engine of a meta stream; null for other streams and for those that count nothing.
inline MetaEngine* meta_engine_of(Stream stream) {
  return stream.device.backend == Backend::meta ? static_cast<MetaEngine*>(stream.handle) : nullptr;
}

/// Says what the tensors are for that are made in its lifetime.  Nobody asks but a MetaEngine.
class [[nodiscard]] MemoryFor {
 public:
  MemoryFor(MemoryUse use, Stream stream) : engine_(meta_engine_of(stream)) {
    if (engine_) before_ = std::exchange(engine_->use_, use);
  }
  ~MemoryFor() {
    if (engine_) engine_->use_ = before_;
  }
  MemoryFor(const MemoryFor&) = delete;
  MemoryFor& operator=(const MemoryFor&) = delete;

 private:
  MetaEngine* engine_;
  MemoryUse before_{};
};

}  // namespace tessera
