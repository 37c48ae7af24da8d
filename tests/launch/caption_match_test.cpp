#include "launch/caption_match.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "runtime/json.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/command.h"

namespace tessera {
namespace {

/// A square of a colour in one half of a white picture.
Image half(uint8_t red, uint8_t green, uint8_t blue, bool left) {
  Image image{32, 32, std::vector<uint8_t>(32 * 32 * 3, 255)};
  for (size_t y = 0; y < 32; ++y)
    for (size_t x = 0; x < 16; ++x) {
      const size_t at = (y * 32 + x + (left ? 0 : 16)) * 3;
      image.rgb[at] = red;
      image.rgb[at + 1] = green;
      image.rgb[at + 2] = blue;
    }
  return image;
}

double distance(const Image& a, const Image& b) {
  const std::vector<float> left = look_of(a), right = look_of(b);
  double sum = 0;
  for (size_t i = 0; i < left.size(); ++i) sum += (left[i] - right[i]) * (left[i] - right[i]);
  return std::sqrt(sum);
}

TEST(CaptionMatch, LooksTellColourAndShapeApart) {
  const Image red = half(200, 0, 0, true);
  EXPECT_EQ(look_of(red).size(), 112u);
  EXPECT_EQ(distance(red, red), 0);
  EXPECT_LT(distance(red, half(190, 10, 10, true)), 0.1);
  EXPECT_GT(distance(red, half(0, 0, 200, true)), 0.2);
  EXPECT_GT(distance(red, half(200, 0, 0, false)), distance(red, half(0, 0, 200, true)));
  const Image white{32, 32, std::vector<uint8_t>(32 * 32 * 3, 255)};
  for (size_t i = 48; i < 112; ++i) EXPECT_EQ(look_of(white)[i], 0);  // no shape
}

TEST(CaptionMatch, SimilarityCountsSharedWords) {
  EXPECT_EQ(caption_similarity("Red heart. love", "a RED heart, love"), 1);
  EXPECT_DOUBLE_EQ(caption_similarity("red heart", "blue heart"), 1.0 / 3);
  EXPECT_EQ(caption_similarity("a b", "a b"), 0);  // no words
  EXPECT_EQ(caption_similarity("", "red"), 0);
}

class CaptionMatchFiles : public testing::Test {
 protected:
  /// Prompts for colours, each answered by a picture: of that colour, or of the next one.
  void write_files(bool fitting) const {
    constexpr int kColours = 8;
    std::filesystem::create_directories(folder_ / "images");
    std::string replies, references;
    for (int i = 0; i < kColours; ++i) {
      const auto colour = [&](int n) {
        return half(static_cast<uint8_t>(n % 2 * 230), static_cast<uint8_t>(n / 2 % 2 * 230),
                    static_cast<uint8_t>(n / 4 % 2 * 230), true);
      };
      write_png(folder_ / str("images/", i, ".png"), colour(i));
      const std::string name(4, static_cast<char>('a' + i));
      references += str("{\"id\":\"", i, "\",\"source\":\"s\",\"parts\":[{\"text\":\"", name,
                        "\"},{\"image\":\"images/", i, ".png\"}]}\n");
      replies += str("{\"prompt\":[{\"text\":\"", name, "\"}],\"reply\":[{\"image\":\"images/",
                     fitting ? i : (i + 1) % kColours, ".png\"}]}\n");
    }
    write_file(options_.replies, replies);
    write_file(options_.references, references);
  }
  Json result(bool fitting) const {
    write_files(fitting);
    match_captions(options_);
    return read_json(options_.out);
  }

  TemporaryFolder folder_;
  const CaptionMatchOptions options_{folder_ / "replies.jsonl", folder_ / "references.jsonl",
                                     folder_ / "match.json", 2000, 1};
};

TEST_F(CaptionMatchFiles, TellsWhatFitsFromWhatDoesNot) {
  const Json fits = result(true);
  EXPECT_EQ(fits["prompts"], 8);
  EXPECT_EQ(fits["similarity"], 1.0);
  EXPECT_NEAR(fits["similarity_by_chance"], 1.0 / 8, 0.02);
  EXPECT_LT(fits["p"], 0.01);
  const Json misses = result(false);
  EXPECT_EQ(misses["similarity"], 0.0);
  EXPECT_EQ(misses["p"], 1.0);
}

TEST_F(CaptionMatchFiles, RefusesFilesWithoutPictures) {
  const auto refusal = [&] { return message_of([&] { match_captions(options_); }); };
  EXPECT_EQ(refusal(), options_.replies + ": cannot be opened");
  write_files(true);
  write_file(options_.replies, "{\"prompt\": []}\n");
  EXPECT_EQ(refusal(), options_.replies + " line 1: must be an object with the arrays prompt and reply");
  write_file(options_.replies, "{\"prompt\":[{\"text\":\"x\"}],\"reply\":[{\"text\":\"y\"}]}\n");
  EXPECT_EQ(refusal(), options_.replies + ": no text prompt has a picture as answer");
  write_files(true);
  write_file(options_.references, "{\"id\":\"0\",\"source\":\"s\",\"parts\":[{\"text\":\"x\"}]}\n");
  EXPECT_EQ(refusal(), options_.references + ": no document has a text and a picture");
  EXPECT_FALSE(std::filesystem::exists(options_.out));
}

}  // namespace
}  // namespace tessera
