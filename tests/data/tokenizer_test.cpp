#include <gtest/gtest.h>

#include <cmath>

#include "data/image_tokenizer.h"
#include "data/text_tokenizer.h"
#include "runtime/hdf5.h"
#include "runtime/random.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

std::vector<std::string> some_lines() {
  std::vector<std::string> lines;
  for (int i = 0; i < 300; ++i)
    lines.push_back(
        str("the grinning face number ", i % 17, " of the sleeping cat and naïve café größe ", i % 5));
  return lines;
}

TEST(TextTokenizer, EveryTextComesBack) {
  const TextTokenizer tokenizer = TextTokenizer::train(some_lines(), 400);
  EXPECT_LE(tokenizer.pieces(), 400);
  for (const char* text :
       {"", " ", "  two  spaces ", "line\nbreak\n", "naïve 漢字 \xf0\x9f\x98\x80", "tab\t\x01"}) {
    const std::vector<int32_t> ids = tokenizer.encode(text);
    for (int32_t id : ids) EXPECT_TRUE(0 <= id && id < tokenizer.pieces());
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
  EXPECT_LT(tokenizer.encode("the grinning face").size(), 8u) << "frequent words have pieces of their own";
}

TEST(TextTokenizer, TrainingRepeatsAndFilesRoundTrip) {
  const TemporaryFolder folder;
  TextTokenizer::train(some_lines(), 400).save(folder / "a");
  TextTokenizer::train(some_lines(), 400).save(folder / "b");
  EXPECT_EQ(bytes_of_file(folder / "a"), bytes_of_file(folder / "b"));
  EXPECT_EQ(TextTokenizer::load(folder / "a").encode("the cat"),
            TextTokenizer::train(some_lines(), 400).encode("the cat"));
}

TEST(TextTokenizer, Refuses) {
  const TemporaryFolder folder;
  EXPECT_EQ(message_of([] { TextTokenizer::train({"x"}, 100); }),
            "text tokenizer: needs at least 320 pieces, got 100");
  EXPECT_EQ(message_of([] {
              TextTokenizer::train({"", ""}, 400);
            }),
            "text tokenizer: there is no text to learn from");
  EXPECT_EQ(message_of([&] { TextTokenizer::load(folder / "none"); }),
            "text tokenizer: " + folder / "none" + " cannot be opened");
  write_file(folder / "bad", "not a model");
  EXPECT_EQ(message_of([&] { TextTokenizer::load(folder / "bad"); }),
            "text tokenizer: " + folder / "bad" + " is not a SentencePiece model");
  const TextTokenizer tokenizer = TextTokenizer::train(some_lines(), 400);
  EXPECT_EQ(message_of([&] { tokenizer.decode(std::vector<int32_t>{-1}); }),
            str("text tokenizer: no piece -1, there are ", tokenizer.pieces()));
}

/// Pictures of a few colours in blocks of 4, and noise in a quarter of them.
std::vector<Image> some_images() {
  constexpr Purpose kPixels("test pixels");
  std::vector<Image> images;
  for (uint64_t n = 0; n < 24; ++n) {
    Image image{16, 16, std::vector<uint8_t>(768)};
    for (uint64_t i = 0; i < 768; ++i) {
      const uint64_t block = i / 3 % 16 / 4 + i / 48 / 4 * 4;
      const uint64_t colour = random_below(1, kPixels, n * 16 + block, 5) * 50;
      image.rgb[i] = static_cast<uint8_t>(n % 4 ? colour : random_below(2, kPixels, n * 768 + i, 256));
    }
    images.push_back(image);
  }
  return images;
}

constexpr PatchCodebookConfig kConfig{
    .image_side = 16, .patch_side = 4, .codes = 12, .rounds = 5, .sample_patches = 300};

TEST(PatchCodebook, FindsThePatchesThatOccur) {
  ThreadPool pool(1);
  PatchCodebookConfig config = kConfig;
  config.codes = 5;
  const std::vector<Image> images = some_images(), blocks(images.begin() + 1, images.begin() + 4);
  const auto codebook = PatchCodebook::train(blocks, config, 7, pool);
  EXPECT_EQ(codebook.codes_per_image(), 16);
  EXPECT_EQ(codebook.codebook_size(), 5);
  for (const Image& image : blocks) EXPECT_EQ(codebook.decode(codebook.encode(image)), image);
  EXPECT_EQ(codebook.plain(), std::vector<uint8_t>(5, 1));
}

TEST(PatchCodebook, NoiseIsNotPlain) {
  ThreadPool pool(1);
  const std::vector<Image> noise{some_images()[0], some_images()[4]};
  EXPECT_EQ(PatchCodebook::train(noise, kConfig, 7, pool).plain(), std::vector<uint8_t>(12, 0));
}

TEST(PatchCodebook, MoreCodesReconstructBetter) {
  ThreadPool pool(1);
  const auto error_of = [&](int64_t codes) {
    PatchCodebookConfig config = kConfig;
    config.codes = codes;
    const auto codebook = PatchCodebook::train(some_images(), config, 7, pool);
    double error = 0;
    for (const Image& image : some_images()) {
      const Image back = codebook.decode(codebook.encode(image));
      for (size_t i = 0; i < image.rgb.size(); ++i) error += std::pow(image.rgb[i] - back.rgb[i], 2);
    }
    return error;
  };
  EXPECT_LT(error_of(24), 0.95 * error_of(8));
}

TEST(PatchCodebook, ThreadsAndFilesDoNotChangeIt) {
  const TemporaryFolder folder;
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    PatchCodebook::train(some_images(), kConfig, 7, pool).save(folder / str(threads));
  }
  EXPECT_EQ(bytes_of_file(folder / "1"), bytes_of_file(folder / "2"));
  EXPECT_EQ(bytes_of_file(folder / "1"), bytes_of_file(folder / "5"));
  const auto loaded = load_image_tokenizer(folder / "1");
  loaded->save(folder / "again");
  EXPECT_EQ(bytes_of_file(folder / "1"), bytes_of_file(folder / "again"));
}

TEST(PatchCodebook, MoreCodesThanPatches) {
  ThreadPool pool(1);
  PatchCodebookConfig config = kConfig;
  config.codes = 100;
  const std::vector<Image> one{{16, 16, std::vector<uint8_t>(768, 9)}};
  const auto codebook = PatchCodebook::train(one, config, 7, pool);
  EXPECT_EQ(codebook.encode(one[0]), std::vector<int32_t>(16, 0)) << "the lower of equal codes";
}

TEST(PatchCodebook, Refuses) {
  const TemporaryFolder folder;
  ThreadPool pool(1);
  EXPECT_EQ(message_of([&] { PatchCodebook::train({}, kConfig, 7, pool); }),
            "image codebook: there are no images to learn from");
  PatchCodebookConfig config = kConfig;
  config.patch_side = 5;
  EXPECT_EQ(message_of([&] { PatchCodebook::train(some_images(), config, 7, pool); }),
            "image codebook: patch_side must divide image_side 16 and be at most 32, got 5");
  const auto codebook = PatchCodebook::train(some_images(), kConfig, 7, pool);
  EXPECT_EQ(message_of([&] {
              codebook.encode({8, 16, {}});
            }),
            "image codebook: takes 16 x 16 pixels, got 8 x 16");
  EXPECT_EQ(message_of([&] { codebook.decode(std::vector<int32_t>(3)); }),
            "image codebook: an image has 16 codes, got 3");
  EXPECT_EQ(message_of([&] { codebook.decode(std::vector<int32_t>(16, 12)); }),
            "image codebook: no code 12, there are 12");
  hdf5::File other = hdf5::File::create(folder / "other.h5");
  other.set_attribute("/", "schema", std::string("something"));
  other.close();
  EXPECT_EQ(message_of([&] { load_image_tokenizer(folder / "other.h5"); }),
            "image codebook: " + folder / "other.h5" + " is not a patch_codebook of version 1");
}

}  // namespace
}  // namespace tessera
