#include "data/fingerprint.h"

#define XXH_INLINE_ALL  // compiled here, for this processor: the library's own copy uses half the width
#include <xxhash.h>

#include <cstdio>
#include <fstream>
#include <vector>

#include "runtime/error.h"

namespace tessera {

struct Fingerprint::State {
  XXH3_state_t* hash;
};

void Fingerprint::Free::operator()(State* state) const {
  XXH3_freeState(state->hash);
  delete state;
}

uint64_t hash_of(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Fingerprint::Fingerprint() : state_(new State{XXH3_createState()}) {
  TESSERA_CHECK(state_->hash && XXH3_128bits_reset(state_->hash) == XXH_OK, "fingerprint: out of memory");
}

// Sizes separate the strings of the list.
void Fingerprint::add_size(uint64_t size) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(size >> (8 * i));
  XXH3_128bits_update(state_->hash, bytes, sizeof bytes);
}

void Fingerprint::add(std::string_view bytes) {
  add_size(bytes.size());
  XXH3_128bits_update(state_->hash, bytes.data(), bytes.size());
}

void Fingerprint::add_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  TESSERA_CHECK(in, "fingerprint: ", path, " cannot be opened");
  std::vector<char> block(1 << 18);
  uint64_t size = 0;
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    XXH3_128bits_update(state_->hash, block.data(), static_cast<size_t>(in.gcount()));
    size += static_cast<uint64_t>(in.gcount());
  }
  TESSERA_CHECK(in.eof(), "fingerprint: ", path, " cannot be read");
  add_size(size);
}

std::string Fingerprint::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->hash);
  char text[40];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

}  // namespace tessera
