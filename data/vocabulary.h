#pragma once
// How token ids are laid out:
//
//   0 <s>   1 <pad>   2 </s>   3 reserved   [4, 4 + image_codes) image codes
//   then end-of-image, begin-of-image, and the text pieces up to size()
//
// The modality of a token is a range test: image codes are image, everything else is text.
// Source: the released vocabulary of Chameleon (arXiv 2405.09818).

#include <array>
#include <cstdint>
#include <ostream>
#include <tuple>

#include "runtime/fields.h"

namespace tessera {

enum class Modality : uint8_t { text, image };
inline constexpr int kModalities = 2;
inline constexpr const char* name_of(Modality modality) {
  return modality == Modality::text ? "text" : "image";
}

/// One value per modality, indexed by static_cast<size_t>(Modality).
using PerModality = std::array<int64_t, kModalities>;

struct Vocabulary {
  static constexpr int32_t kBegin = 0;  ///< first token of every document and of every piece of a cut one
  static constexpr int32_t kPad = 1;    ///< never scored, never routed
  static constexpr int32_t kEnd = 2;    ///< last token of a document that is complete
  static constexpr int32_t kFirstImage = 4;

  int64_t image_codes = 0;
  int64_t text_pieces = 0;

  int32_t end_of_image() const { return kFirstImage + static_cast<int32_t>(image_codes); }
  int32_t begin_of_image() const { return end_of_image() + 1; }
  int32_t first_text() const { return end_of_image() + 2; }
  int64_t size() const { return first_text() + text_pieces; }

  Modality modality_of(int32_t id) const {
    return kFirstImage <= id && id < end_of_image() ? Modality::image : Modality::text;
  }

  auto fields() {
    return std::tuple{Field{"image_codes", image_codes, "size of the image codebook", 0, 1 << 20},
                      Field{"text_pieces", text_pieces, "pieces of the text tokenizer", 0, 1 << 24}};
  }
  friend bool operator==(const Vocabulary&, const Vocabulary&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Vocabulary& vocabulary) {
    return out << vocabulary.size() << " ids (" << vocabulary.image_codes << " image codes, "
               << vocabulary.text_pieces << " text pieces)";
  }
};

}  // namespace tessera
