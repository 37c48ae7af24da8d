#pragma once
// Hashes that say whether two things are the same bytes; not against people who forge them.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace tessera {

/// 64 bits of XXH3.
uint64_t hash_of(std::string_view bytes);

/// 128 bits of XXH3 over a list of byte strings; {"ab", "c"} and {"a", "bc"} differ.
class Fingerprint {
 public:
  Fingerprint();
  void add(std::string_view bytes);
  /// The content of a file, not its name.  Throws Error when it cannot be read.
  void add_file(const std::string& path);
  std::string hex() const;

 private:
  struct State;
  struct Free {
    void operator()(State* state) const;
  };
  void add_size(uint64_t size);
  std::unique_ptr<State, Free> state_;
};

}  // namespace tessera
