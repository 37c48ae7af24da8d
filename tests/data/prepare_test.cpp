#include "launch/prepare.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <set>

#include "data/text_tokenizer.h"
#include "runtime/random.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

/// Twelve pictures with a caption each, a page with two of them, and some text.
class PrepareTest : public ::testing::Test {
 protected:
  void SetUp() override {
    constexpr Purpose kColour("test colours");
    std::string manifest;
    for (uint64_t n = 0; n < 12; ++n) {
      Image image{20, 16, {}};
      for (uint64_t i = 0; i < 960; ++i)
        image.rgb.push_back(static_cast<uint8_t>(random_below(1, kColour, n * 64 + i / 240, 6) * 51));
      const auto png = encode_png(image);
      write_file(folder_ / str(n, ".png"), {png.begin(), png.end()});
      manifest += str("{\"id\":\"p", n, "\",\"source\":\"pairs\",\"flip\":true,\"split\":\"",
                      n < 9 ? "train" : "validation", "\",\"parts\":[{\"text\":\"a picture with the number ",
                      n, "\"},{\"image\":\"", n, ".png\"}]}\n");
    }
    manifest +=
        "{\"id\":\"page\",\"source\":\"pages\",\"split\":\"train\",\"parts\":[{\"text\":\"see "
        "this:\"},{\"image\":\"1.png\"},"
        "{\"text\":\"and also this one, which is somewhat longer to explain\"},{\"image\":\"2.png\"}]}\n";
    for (int n = 0; n < 40; ++n)
      manifest +=
          str("{\"id\":\"t", n, "\",\"source\":\"texts\",\"parts\":[{\"text\":\"the quick brown fox number ",
              n, " jumps over the lazy dog and on and on\"}]}\n");
    write_file(manifest_, manifest);
    config_.manifest = manifest_;
    config_.out = folder_ / "out";
    config_.length = 64;
    config_.vocabulary = 400;
    config_.images = {.image_side = 16, .patch_side = 4, .codes = 20, .rounds = 3, .sample_patches = 500};
    config_.validation_share = 0.2;
    config_.threads = 1;
  }

  DatasetIndex run(PrepareConfig config) {
    said_.clear();
    return prepare(config, [this](const std::string& sentence) { said_.push_back(sentence); });
  }
  std::string refusal(const PrepareConfig& config) {
    return message_of([&] { run(config); });
  }

  TemporaryFolder folder_;
  std::string manifest_ = folder_ / "manifest.jsonl";
  PrepareConfig config_;
  std::vector<std::string> said_;
};

TEST_F(PrepareTest, MakesADatasetThatDecodes) {
  const DatasetIndex index = run(config_);
  EXPECT_EQ(index.codes_per_image, 16);
  EXPECT_EQ(index.images_per_unit, 2);
  EXPECT_EQ(index.vocabulary.image_codes, 20);
  EXPECT_LE(index.vocabulary.size(), 400);
  EXPECT_EQ(index.counts.at("train").images + index.counts.at("train").images_dropped, 11);
  EXPECT_EQ(index.counts.at("validation").images + index.counts.at("validation").images_dropped, 3);

  const TokenDataset train(config_.out, "train");
  const TextTokenizer text = TextTokenizer::load(config_.out + "/text.model");
  const auto images = load_image_tokenizer(config_.out + "/image_codebook.h5");
  const Vocabulary& vocabulary = train.vocabulary();
  std::set<std::string> captions;
  for (int64_t u = 0; u < train.units(UnitKind::mixed); ++u) {
    const std::vector<int32_t> tokens = train.read({UnitKind::mixed, u}).tokens;
    std::vector<int32_t> pieces, codes;
    for (int32_t id : tokens) {
      if (vocabulary.modality_of(id) == Modality::image)
        codes.push_back(id - Vocabulary::kFirstImage);
      else if (id >= vocabulary.first_text())
        pieces.push_back(id - vocabulary.first_text());
      else if (id == Vocabulary::kEnd)
        captions.insert(text.decode(std::exchange(pieces, {})));
    }
    ASSERT_EQ(codes.size(), 32u);
    EXPECT_EQ(images->decode(std::span(codes).first(16)).width, 16);
  }
  int64_t whole = 0;
  for (int n = 0; n < 9; ++n)
    whole += static_cast<int64_t>(captions.count(str("a picture with the number ", n)));
  EXPECT_GE(whole, 7) << "captions stay with their pictures, but for those dropped at the end";
}

TEST_F(PrepareTest, PacksSourcesApart) {
  config_.sources = {{"pairs", "pictures"}, {"pages", "pictures"}};
  run(config_);
  const TokenDataset train(config_.out, "train");
  const TextTokenizer text = TextTokenizer::load(config_.out + "/text.model");
  std::map<std::string, bool> speaks_of_foxes;
  for (const UnitKind kind : {UnitKind::mixed, UnitKind::text})
    for (const SourceUnits& source : train.sources(kind))
      for (int64_t u = 0; u < source.units; ++u) {
        std::vector<int32_t> pieces;
        for (int32_t id : train.read({kind, source.first + u}).tokens)
          if (id >= train.vocabulary().first_text()) pieces.push_back(id - train.vocabulary().first_text());
        speaks_of_foxes[source.source] |= text.decode(pieces).find("lazy dog") != std::string::npos;
      }
  EXPECT_EQ(speaks_of_foxes, (std::map<std::string, bool>{{"all", true}, {"pictures", false}}));
  ASSERT_EQ(train.sources(UnitKind::mixed).size(), 1u);
  EXPECT_EQ(train.sources(UnitKind::mixed)[0].source, "pictures");
  config_.sources = {{"pears", "pictures"}};
  EXPECT_EQ(refusal(config_), "prepare: sources names source \"pears\", which is not in " + manifest_);
}

TEST_F(PrepareTest, RepeatsBitForBitOnAnyNumberOfThreads) {
  run(config_);
  PrepareConfig other = config_;
  other.out = folder_ / "other";
  other.threads = 3;
  run(other);
  EXPECT_EQ(file_tree(config_.out), file_tree(other.out));
  other.seed = 2;
  run(other);
  EXPECT_NE(file_tree(config_.out), file_tree(other.out));
}

TEST_F(PrepareTest, LeavesADatasetThatIsUpToDate) {
  const DatasetIndex first = run(config_);
  EXPECT_EQ(run(config_).fingerprint, first.fingerprint);
  EXPECT_EQ(said_, std::vector<std::string>{config_.out + " is up to date"});
  write_file(folder_ / "3.png", bytes_of_file(folder_ / "4.png"));
  EXPECT_NE(run(config_).fingerprint, first.fingerprint) << "another picture under the same name";
}

TEST_F(PrepareTest, TakesTokenizersOfAnEarlierDataset) {
  const DatasetIndex first = run(config_);
  PrepareConfig later = config_;
  later.tokenizers = config_.out;
  later.out = folder_ / "later";
  later.manifest = folder_ / "text.jsonl";
  write_file(
      later.manifest,
      "{\"id\":\"a\",\"source\":\"s\",\"split\":\"train\",\"parts\":[{\"text\":\"no picture at all\"}]}\n");
  const DatasetIndex second = run(later);
  EXPECT_EQ(second.vocabulary, first.vocabulary);
  EXPECT_EQ(second.images_per_unit, 0);
  EXPECT_EQ(file_tree(later.out).at("text.model"), file_tree(config_.out).at("text.model"));
}

TEST_F(PrepareTest, EveryFailureLeavesTheEarlierDataset) {
  run(config_);
  const auto before = file_tree(config_.out);
  const auto fails = [&](const PrepareConfig& config, const std::string& message) {
    EXPECT_EQ(refusal(config), message);
    EXPECT_EQ(file_tree(config_.out), before) << message;
    EXPECT_FALSE(std::filesystem::exists(config_.out + ".tmp")) << message;
  };
  PrepareConfig config = config_;
  config.manifest = folder_ / "none";
  fails(config, "manifest: " + folder_ / "none" + " cannot be opened");
  config = config_;
  config.image_share = 0.01;
  fails(config, "prepare: image_share 0.01 of length 64 is less than one image of 16 codes");
  config.image_share = 1;
  fails(config, "packing: 4 images of 16 codes do not fit a unit of 64 tokens");
  config = config_;
  config.tokenizers = folder_ / "none";
  EXPECT_NE(refusal(config), "");

  const std::string manifest = bytes_of_file(manifest_), png = bytes_of_file(folder_ / "5.png");
  write_file(manifest_, manifest + "{\"id\":\n");
  fails(config_, "manifest: " + manifest_ + " line 54: not valid JSON");
  write_file(manifest_, manifest);
  write_file(folder_ / "5.png", "");
  fails(config_, "image: " + folder_ / "5.png" + " is empty");
  write_file(folder_ / "5.png", png.substr(0, 60));
  EXPECT_EQ(refusal(config_).rfind("image: " + folder_ / "5.png" + ": damaged PNG", 0), 0u)
      << refusal(config_);
  std::filesystem::remove(folder_ / "5.png");
  fails(config_, "fingerprint: " + folder_ / "5.png" + " cannot be opened");
}

TEST_F(PrepareTest, DoesNotReplaceWhatIsNotADataset) {
  std::filesystem::create_directories(config_.out);
  write_file(config_.out + "/thesis.txt", "years of work");
  EXPECT_EQ(refusal(config_),
            "prepare: " + config_.out + " holds other things than a dataset: choose another out");
  EXPECT_EQ(bytes_of_file(config_.out + "/thesis.txt"), "years of work");
}

TEST_F(PrepareTest, AFullDiskLeavesTheEarlierDataset) {
  run(config_);
  const auto before = file_tree(config_.out);
  // Writes beyond a file size fail as they do on a full disk; in a child, whose exit must be clean as well.
  const auto fill_disk = [&](rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    PrepareConfig config = config_;
    config.seed = 9;
    const std::string message = refusal(config);
    std::exit(message.find("cannot") != std::string::npos ||
                      message.find("File too large") != std::string::npos
                  ? 0
                  : 1);
  };
  for (rlim_t bytes : {100, 3000, 6000}) {
    EXPECT_EXIT(fill_disk(bytes), ::testing::ExitedWithCode(0), "") << bytes;
    EXPECT_EQ(file_tree(config_.out), before);
    EXPECT_FALSE(std::filesystem::exists(config_.out + ".tmp"));
  }
}

}  // namespace
}  // namespace tessera
