#pragma once
// A result that is still being produced.  The only way to it is wait().

#include <functional>
#include <utility>

#include "runtime/device.h"

namespace tessera {

template <class T>
class [[nodiscard]] Pending {
 public:
  /// finish orders the consumer's later work after the producer's and may throw what went wrong.
  Pending(T value, std::function<void(Stream consumer)> finish)
      : value_(std::move(value)), finish_(std::move(finish)) {}

  T wait(Stream consumer) && {
    finish_(consumer);
    return std::move(value_);
  }

 private:
  T value_;
  std::function<void(Stream)> finish_;
};

}  // namespace tessera
