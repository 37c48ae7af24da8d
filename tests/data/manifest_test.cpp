#include "data/manifest.h"

#include <gtest/gtest.h>

#include "data/corpus.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

class Manifest : public ::testing::Test {
 protected:
  std::string write(const std::string& text) const {
    write_file(path(), text);
    return path();
  }
  std::string path() const { return folder_ / "m.jsonl"; }

  /// What the reader says about a second line, without file and line.
  std::string refusal(const std::string& line) const {
    write("{\"id\":\"a\",\"source\":\"s\",\"parts\":[{\"text\":\"x\"}]}\n" + line + "\n");
    const std::string message = message_of([&] {
      ManifestReader reader(path());
      for (ManifestDocument document; reader.next(document);) {
      }
    });
    const std::string start = "manifest: " + path() + " line 2: ";
    EXPECT_EQ(message.substr(0, start.size()), start) << message;
    return message.substr(std::min(message.size(), start.size()));
  }

  TemporaryFolder folder_;
};

TEST_F(Manifest, ReadsDocuments) {
  ManifestReader reader(
      write("\n{\"id\":\"a\",\"source\":\"s\",\"split\":\"validation\",\"group\":\"g\",\"flip\":true,"
            "\"parts\":[{\"text\":\"caf\\u00e9\"},{\"image\":\"i/p.png\"},{\"image\":\"/abs.png\"}]}\n"
            "{\"id\":\"b\",\"source\":\"t\",\"parts\":[{\"text\":\"\"}]}"));
  ManifestDocument document;
  ASSERT_TRUE(reader.next(document));
  EXPECT_EQ(reader.line(), 2);
  EXPECT_EQ(document.id + document.source + document.split + document.group, "asvalidationg");
  EXPECT_TRUE(document.flip);
  ASSERT_EQ(document.parts.size(), 3u);
  EXPECT_EQ(document.parts[0].value, "café");
  EXPECT_EQ(document.parts[1].value, folder_ / "i/p.png");
  EXPECT_TRUE(document.parts[1].is_image);
  EXPECT_EQ(document.parts[2].value, "/abs.png");
  ASSERT_TRUE(reader.next(document));
  EXPECT_EQ(document.split, "");
  EXPECT_FALSE(document.flip);
  EXPECT_FALSE(reader.next(document));
}

TEST_F(Manifest, RefusalsNameTheLineAndTheField) {
  EXPECT_EQ(refusal("{\"id\": "), "not valid JSON");
  EXPECT_EQ(refusal("[1]"), "a document is a JSON object");
  EXPECT_EQ(refusal("{\"source\":\"s\",\"parts\":[{\"text\":\"x\"}]}"), "id is missing or empty");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"parts\":[{\"text\":\"x\"}]}"), "source is missing or empty");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"source\":\"s\"}"), "parts is missing or empty");
  EXPECT_EQ(refusal("{\"id\":7}"), "id must be a string, got 7");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"split\":\"test\"}"), "split must be train or validation, got \"test\"");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"flip\":1}"), "flip must be true or false, got 1");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"sauce\":\"s\"}"), "unknown key \"sauce\"; did you mean \"source\"?");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"parts\":{}}"), "parts must be an array, got {}");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"parts\":[{\"text\":\"x\"},{}]}"),
            "parts[1] must be {\"text\": ...} or {\"image\": ...}, got {}");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"parts\":[{\"imgae\":\"x\"}]}"),
            "unknown key \"parts[0].imgae\"; did you mean \"image\"?");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"parts\":[{\"text\":3}]}"), "parts[0].text must be a string, got 3");
  EXPECT_EQ(refusal("{\"id\":\"b\",\"parts\":[{\"image\":\"\"}]}"), "parts[0].image is empty");
  EXPECT_EQ(message_of([&] { ManifestReader(folder_ / "none"); }),
            "manifest: " + folder_ / "none" + " cannot be opened");
}

std::string many(int documents, const std::string& extra = "") {
  std::string text;
  for (int i = 0; i < documents; ++i)
    text += str("{\"id\":\"d", i, "\",\"group\":\"g", i / 4, "\",\"source\":\"", i % 2 ? "odd" : "even", '"',
                extra, ",\"parts\":[{\"text\":\"0123456789\"},{\"image\":\"", i / 2, ".png\"}]}\n");
  return text;
}

TEST_F(Manifest, SplitsByGroupAndShuffles) {
  write(many(400));
  const Corpus corpus = read_corpus(path(), {.validation_share = 0.25, .seed = 5});
  EXPECT_EQ(corpus.train.size() + corpus.validation.size(), 400u);
  EXPECT_EQ(corpus.images.size(), 200u) << "every image once";
  EXPECT_GT(corpus.validation.size(), 50u);
  EXPECT_LT(corpus.validation.size(), 150u);
  std::map<std::string, std::set<bool>> sides;
  for (const auto& document : corpus.train) sides[document.group].insert(true);
  for (const auto& document : corpus.validation) sides[document.group].insert(false);
  for (const auto& [group, side] : sides) EXPECT_EQ(side.size(), 1u) << group;
  const auto ids = [&](uint64_t seed) {
    std::string text;
    for (const auto& document : read_corpus(path(), {.validation_share = 0.25, .seed = seed}).train)
      text += document.id;
    return text;
  };
  EXPECT_EQ(ids(5), ids(5));
  EXPECT_NE(ids(5), ids(6));
}

TEST_F(Manifest, LimitsTextPerSource) {
  write(many(1000));
  const Corpus corpus = read_corpus(path(), {.max_text_bytes = {{"odd", 1000}}});
  int64_t odd = 0, even = 0;
  for (const auto* documents : {&corpus.train, &corpus.validation})
    for (const auto& document : *documents) ++(document.source == "odd" ? odd : even);
  EXPECT_EQ(even, 500);
  EXPECT_NEAR(static_cast<double>(odd), 100, 40);  // 10 bytes each; four standard deviations of a draw of 500
  EXPECT_EQ(message_of([&] {
              read_corpus(path(), {.max_text_bytes = {{"other", 1}}});
            }),
            "prepare: max_text_bytes names source \"other\", which is not in " + path());
}

TEST_F(Manifest, FlipsHalf) {
  write(many(1000, ",\"flip\":true"));
  int64_t image_first = 0;
  for (const auto& document : read_corpus(path(), {.validation_share = 0}).train)
    image_first += document.parts[0].is_image;
  EXPECT_NEAR(static_cast<double>(image_first), 500, 64);  // four standard deviations
}

TEST_F(Manifest, RefusesIdsThatComeTwice) {
  write(many(3) + many(1));
  EXPECT_EQ(message_of([&] { read_corpus(path(), {}); }),
            "manifest: " + path() + " line 4: id \"d0\" comes a second time");
  EXPECT_EQ(message_of([&] { read_corpus(write("\n"), {}); }), "manifest: " + path() + " has no documents");
}

TEST_F(Manifest, SampledLinesAreShortAndWholeCharacters) {
  std::string text = "first\n\nsecond ";
  for (int i = 0; i < 3000; ++i) text += "é";
  const std::vector<std::string> lines = sample_lines({{.parts = {{false, text}, {true, "p.png"}}}}, 1 << 20);
  std::string joined;
  for (const std::string& line : lines) {
    EXPECT_LE(line.size(), 2001u);
    EXPECT_NE(static_cast<uint8_t>(line[0]) & 0xc0, 0x80) << "starts inside a character";
    joined += line;
  }
  EXPECT_EQ(lines[0], "first");
  EXPECT_EQ(joined.size(), text.size() - 3) << "but for two line ends and the space";
  EXPECT_EQ(sample_lines({{.parts = {{false, "a\n"}}}, {.parts = {{false, "b"}}}}, 1).size(), 1u);
}

}  // namespace
}  // namespace tessera
