#include "data/packing.h"

#include <gtest/gtest.h>

#include "runtime/random.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

constexpr Vocabulary kVocabulary{.image_codes = 10, .text_pieces = 100};
constexpr int32_t kStart = 0, kEnd = 2, kEoi = 14, kBoi = 15, kText = 16;

using Tokens = std::vector<int32_t>;

Tokens text(int64_t count, int32_t piece = kText) { return Tokens(static_cast<size_t>(count), piece); }

Tokens image(int64_t codes, int32_t code = 4) {
  Tokens tokens{kBoi};
  tokens.resize(static_cast<size_t>(codes) + 1, code);
  tokens.push_back(kEoi);
  return tokens;
}

Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// What holds for every unit; returns its images.
int64_t check_unit(const Unit& unit, int64_t length, int64_t codes) {
  EXPECT_EQ(std::ssize(unit.tokens), length);
  int64_t images = 0;
  for (size_t d = 0; d < unit.documents.size(); ++d) {
    const auto begin = unit.documents[d];
    const auto end = d + 1 < unit.documents.size() ? unit.documents[d + 1] : static_cast<int32_t>(length);
    const Tokens piece(unit.tokens.begin() + begin, unit.tokens.begin() + end);
    if (piece[0] == Vocabulary::kPad) {
      EXPECT_EQ(d + 1, unit.documents.size()) << "padding stands at the end";
      EXPECT_EQ(piece, Tokens(piece.size(), Vocabulary::kPad));
      continue;
    }
    EXPECT_EQ(piece[0], kStart);
    for (size_t i = 1; i < piece.size(); ++i) {
      EXPECT_NE(piece[i], kStart);
      EXPECT_TRUE(piece[i] != kEnd || i + 1 == piece.size());
      if (piece[i] != kBoi) continue;
      ++images;
      EXPECT_EQ(piece.at(i + static_cast<size_t>(codes) + 1), kEoi);
    }
  }
  return images;
}

TEST(Packing, PairsGoTogether) {
  const std::vector<Tokens> documents{text(3) + image(4), image(4) + text(2), text(30)};
  const Packed packed =
      pack(documents, kVocabulary, {.length = 32, .codes_per_image = 4, .images_per_unit = 2});
  ASSERT_EQ(packed.mixed.size(), 1u);
  ASSERT_EQ(packed.text.size(), 1u);
  const Tokens both =
      Tokens{kStart} + text(3) + image(4) + Tokens{kEnd, kStart} + image(4) + text(2) + Tokens{kEnd};
  EXPECT_EQ(packed.mixed[0].tokens, both + Tokens{kStart} + text(10));
  EXPECT_EQ(packed.mixed[0].documents, (Tokens{0, 11, 21}));
  EXPECT_EQ(packed.text[0].tokens, Tokens{kStart} + text(20) + Tokens{kEnd} + Tokens(10, Vocabulary::kPad));
  EXPECT_EQ(packed.images_dropped, 0);
}

TEST(Packing, LongTextBeforeAnImageBecomesText) {
  const Packed packed =
      pack({text(20) + image(4)}, kVocabulary, {.length = 16, .codes_per_image = 4, .images_per_unit = 1});
  ASSERT_EQ(packed.mixed.size(), 1u);
  EXPECT_EQ(packed.mixed[0].tokens, Tokens{kStart} + text(8) + image(4) + Tokens{kEnd});
  ASSERT_EQ(packed.text.size(), 1u);
  EXPECT_EQ(packed.text[0].tokens, Tokens{kStart} + text(12) + Tokens(3, Vocabulary::kPad));
}

TEST(Packing, LeftOverImagesAreCounted) {
  const Tokens pair = text(2) + image(4);
  const Packed packed =
      pack({pair, pair, pair}, kVocabulary, {.length = 32, .codes_per_image = 4, .images_per_unit = 2});
  EXPECT_EQ(packed.mixed.size(), 1u);
  EXPECT_EQ(packed.images_dropped, 1);
  EXPECT_EQ(packed.text_tokens_dropped, 6) << "<s>, two pieces, begin and end of image, </s>";
}

TEST(Packing, RandomDocumentsKeepEveryTokenAndTheRatio) {
  constexpr Purpose kDraw("test documents");
  constexpr int64_t kCodes = 9;
  for (int64_t images_per_unit = 1; images_per_unit <= 4; ++images_per_unit) {
    std::vector<Tokens> documents;
    int64_t images = 0;
    std::map<int32_t, int64_t> expected;
    for (uint64_t n = 0; n < 200; ++n) {
      Tokens document;
      const uint64_t parts = 1 + random_below(1, kDraw, n * 32, 6);
      for (uint64_t p = 1; p <= parts; ++p) {
        const auto draw = static_cast<int64_t>(random_below(1, kDraw, n * 32 + p, 90));
        const auto mark = static_cast<int32_t>(n % 100);
        document = document +
                   (draw % 3 ? text(draw, kText + mark) : image(kCodes, 4 + static_cast<int32_t>(n % 10)));
      }
      for (int32_t id : document) ++expected[id];
      images += std::count(document.begin(), document.end(), kBoi);
      documents.push_back(document);
    }
    const Packed packed = pack(documents, kVocabulary,
                               {.length = 64, .codes_per_image = kCodes, .images_per_unit = images_per_unit});
    std::map<int32_t, int64_t> found;
    for (const Unit& unit : packed.mixed) EXPECT_EQ(check_unit(unit, 64, kCodes), images_per_unit);
    for (const Unit& unit : packed.text) EXPECT_EQ(check_unit(unit, 64, kCodes), 0);
    for (const auto* units : {&packed.mixed, &packed.text})
      for (const Unit& unit : *units)
        for (int32_t id : unit.tokens) ++found[id];
    EXPECT_EQ(std::ssize(packed.mixed) * images_per_unit + packed.images_dropped, images);
    EXPECT_LT(packed.images_dropped, images_per_unit);
    if (packed.images_dropped > 0) continue;  // what was dropped with them is not in the units
    for (const auto& [id, count] : expected) EXPECT_EQ(found[id], count) << id;
  }
}

TEST(Packing, TextAloneFillsUnitsWithoutGaps) {
  std::vector<Tokens> documents;
  for (int i = 1; i < 60; ++i) documents.push_back(text(i));
  const Packed packed = pack(documents, {.image_codes = 0, .text_pieces = 100}, {.length = 50});
  EXPECT_TRUE(packed.mixed.empty());
  for (size_t u = 0; u + 1 < packed.text.size(); ++u)
    EXPECT_LT(std::count(packed.text[u].tokens.begin(), packed.text[u].tokens.end(), Vocabulary::kPad),
              kShortestPiece);
}

TEST(Packing, RefusesImagesThatDoNotFit) {
  EXPECT_EQ(
      message_of([] { pack({}, kVocabulary, {.length = 32, .codes_per_image = 13, .images_per_unit = 2}); }),
      "packing: 2 images of 13 codes do not fit a unit of 32 tokens");
  EXPECT_EQ(message_of([] { pack({image(4)}, kVocabulary, {.length = 32, .codes_per_image = 4}); }),
            "packing: a document has images, but units have none");
}

}  // namespace
}  // namespace tessera
