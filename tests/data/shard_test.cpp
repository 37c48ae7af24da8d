#include "data/shard.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/folder_draft.h"
#include "data/ngram.h"
#include "data/synthetic.h"
#include "runtime/hdf5.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

class ShardTest : public ::testing::Test {
 protected:
  DatasetIndex index(int64_t text_pieces = 9) const {
    DatasetIndex index;
    index.fingerprint = "f";
    index.vocabulary = {.image_codes = 1, .text_pieces = text_pieces};
    index.length = 6;
    index.codes_per_image = 1;
    index.images_per_unit = 1;
    return index;
  }
  std::string write(int64_t text_pieces, int64_t shard_bytes) const {
    const std::vector<Unit> one_image{
        {{0, 6, 4, 5, 7, 2}, {0}}, {{0, 2, 0, 6, 4, 5}, {0, 2}}, {{0, 6, 4, 5, 2, 1}, {0, 5}}};
    FolderDraft draft(folder_ / "set");
    DatasetWriter writer(draft.path(), index(text_pieces), shard_bytes);
    writer.write("train", "s", UnitKind::mixed, one_image);
    writer.write("validation", "s", UnitKind::text, {});
    writer.counts("validation");
    writer.finish();
    draft.publish();
    return folder_ / "set";
  }
  std::string refusal(const std::string& split = "train") const {
    return message_of([&] { TokenDataset(folder_ / "set", split); });
  }
  void change_index(const std::string& from, const std::string& to) const {
    std::string text = bytes_of_file(folder_ / "set/index.json");
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    write_file(folder_ / "set/index.json", text.replace(at, from.size(), to));
  }

  TemporaryFolder folder_;
};

TEST_F(ShardTest, UnitsComeBackFromSeveralFilesAndBothWidths) {
  for (int64_t text_pieces : {9, 100000}) {
    const TokenDataset set(write(text_pieces, /*shard_bytes=*/24), "train");
    EXPECT_EQ(set.index().shards.size(), text_pieces == 9 ? 2u : 3u)
        << "24 bytes hold two units of u16, one of i32";
    ASSERT_EQ(set.units(UnitKind::mixed), 3);
    EXPECT_EQ(set.units(UnitKind::text), 0);
    const Unit last = set.read({UnitKind::mixed, 2}), second = set.read({UnitKind::mixed, 1});
    EXPECT_EQ(last.tokens, (std::vector<int32_t>{0, 6, 4, 5, 2, 1}));
    EXPECT_EQ(last.documents, (std::vector<int32_t>{0, 5}));
    EXPECT_EQ(second.documents, (std::vector<int32_t>{0, 2}));
    EXPECT_EQ(set.token_counts({UnitKind::mixed, 0}), (PerModality{5, 1}));
    EXPECT_EQ(set.token_counts({UnitKind::mixed, 2}), (PerModality{4, 1})) << "without padding";
    EXPECT_EQ(set.target_counts({UnitKind::mixed, 0}), (PerModality{4, 1}));
    EXPECT_EQ(set.target_counts({UnitKind::mixed, 1}), (PerModality{3, 1}));
    EXPECT_EQ(set.target_counts({UnitKind::mixed, 2}), (PerModality{3, 1}));
    const SplitCounts& counts = set.index().counts.at("train");
    EXPECT_EQ(counts.mixed_units, 3);
    EXPECT_EQ(counts.text_tokens, 14);
    EXPECT_EQ(counts.image_tokens, 3);
    EXPECT_EQ(counts.pad_tokens, 1);
    EXPECT_EQ(TokenDataset(folder_ / "set", "validation").units(UnitKind::mixed), 0);
    EXPECT_EQ(message_of([&] {
                set.read({UnitKind::mixed, 3});
              }),
              "dataset: " + folder_ / "set" + " has no unit mixed 3: there are 3");
  }
}

TEST_F(ShardTest, FilesCarryWhatIsDocumented) {
  const hdf5::File file = hdf5::File::open(write(9, 1 << 20) + "/train-mixed-00000.h5");
  EXPECT_EQ(file.children("/"),
            (std::vector<std::string>{"checksums", "documents", "images", "modality", "targets",
                                      "token_counts", "tokens", "unit_documents"}));
  EXPECT_EQ(file.dataset("/tokens").element(), hdf5::Element::u16);
  EXPECT_EQ(file.read<uint8_t>("/modality"),
            (std::vector<uint8_t>{0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(file.read<int32_t>("/documents"), (std::vector<int32_t>{0, 0, 2, 0, 5}));
  EXPECT_EQ(file.read<int64_t>("/unit_documents"), (std::vector<int64_t>{0, 1, 3, 5}));
  EXPECT_EQ(file.read<int32_t>("/images"), (std::vector<int32_t>{1, 1, 1}));
  EXPECT_EQ(file.read<int32_t>("/token_counts"), (std::vector<int32_t>{5, 1, 5, 1, 4, 1}));
  EXPECT_EQ(file.attribute<std::string>("/", "fingerprint"), "f");
  EXPECT_EQ(file.attribute<int64_t>("/", "image_codes"), 1);
}

TEST_F(ShardTest, WriterRefusesUnitsThatAreNotOfTheKind) {
  DatasetWriter writer(folder_ / "", index(), 1 << 20);
  const auto refusal_of = [&](const Unit& unit, UnitKind kind) {
    return message_of([&] { writer.write("train", "s", kind, std::vector<Unit>{unit}); });
  };
  EXPECT_EQ(refusal_of({{0, 2}, {0}}, UnitKind::mixed), "dataset: units have 6 tokens, got 2");
  EXPECT_EQ(refusal_of({{0, 6, 4, 5, 7, 99}, {0}}, UnitKind::mixed),
            "dataset: id 99 is not among 16 ids (1 image codes, 9 text pieces)");
  EXPECT_EQ(refusal_of({{0, 6, 4, 5, 7, 2}, {0}}, UnitKind::text),
            "dataset: a text unit has 0 image codes, got 1");
  EXPECT_EQ(refusal_of({{0, 6, 4, 4, 5, 2}, {0}}, UnitKind::mixed),
            "dataset: a mixed unit has 1 image codes, got 2");
  EXPECT_EQ(refusal_of({{0, 6, 4, 5, 7, 2}, {1, 0}}, UnitKind::mixed),
            "dataset: document offsets of a unit must rise from 0");
}

TEST_F(ShardTest, RefusesWhatIsNotADataset) {
  EXPECT_EQ(
      message_of([&] { read_index(folder_ / "none"); }),
      "dataset: " + folder_ / "none" + " has no index.json: it is not a dataset made by `tessera prepare`");
  write(9, 1 << 20);
  EXPECT_EQ(refusal("test"), "dataset: " + folder_ / "set" + " has no split \"test\"");
  change_index("\"version\": 2", "\"version\": 1");
  EXPECT_EQ(refusal(), "dataset: " + folder_ / "set/index.json" +
                           " is not a tessera.dataset of version 2: prepare it again");
}

TEST_F(ShardTest, RefusesShardsThatAreMissingTruncatedOrOthers) {
  const std::string shard = write(9, 1 << 20) + "/train-mixed-00000.h5", bytes = bytes_of_file(shard);
  const auto tokens_at =
      static_cast<size_t>(TokenDataset(folder_ / "set", "train").index().shards[0].tokens_at);
  EXPECT_EQ(bytes.substr(tokens_at, 12), std::string("\0\0\6\0\4\0\5\0\7\0\2\0", 12));
  const auto cut = [&](size_t size, const std::string& what) {
    write_file(shard, bytes.substr(0, size));
    EXPECT_EQ(refusal(), str("hdf5: ", shard, ": cannot open: the file is truncated (", size, " of ",
                             bytes.size(), " bytes; ", what, ")"));
  };
  cut(tokens_at - 1, "/tokens ends before unit 0 of 3");
  cut(tokens_at + 23, "/tokens ends before unit 1 of 3");
  cut(tokens_at + 24, "/tokens ends before unit 2 of 3");
  cut(bytes.size() - 1, "/tokens is whole, what follows it is not");
  write_file(shard, "not HDF5");
  EXPECT_EQ(refusal(), str("hdf5: ", shard, " is not an HDF5 file (8 of ", bytes.size(),
                           " bytes; /tokens ends before unit 0 of 3)"));
  std::filesystem::remove(shard);
  EXPECT_EQ(refusal(), "hdf5: cannot open " + shard + ": No such file or directory");
  write_file(shard, bytes);
  EXPECT_EQ(refusal(), "");
  change_index("\"fingerprint\": \"f\"", "\"fingerprint\": \"g\"");
  EXPECT_EQ(refusal(), "dataset: " + shard + ": fingerprint is f, index.json says g");
}

TEST_F(ShardTest, VocabularyMismatchNamesBoth) {
  EXPECT_EQ(message_of([&] { require_vocabulary(index(), "set", {.image_codes = 2, .text_pieces = 9}); }),
            "dataset set has 16 ids (1 image codes, 9 text pieces), the model has 17 ids (2 image codes, 9 "
            "text pieces)");
  EXPECT_NO_THROW(require_vocabulary(index(), "set", {.image_codes = 1, .text_pieces = 9}));
}

TEST_F(ShardTest, ADraftThatIsNotPublishedLeavesTheEarlierFolder) {
  const std::string path = folder_ / "draft";
  {
    FolderDraft draft(path);
    write_file(draft.path() + "/a", "first");
    draft.publish();
  }
  {
    FolderDraft draft(path + "/");
    write_file(draft.path() + "/a", "second");
  }
  EXPECT_EQ(bytes_of_file(path + "/a"), "first");
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
  {
    FolderDraft draft(path);
    write_file(draft.path() + "/b", "third");
    draft.publish();
  }
  EXPECT_EQ(bytes_of_file(path + "/b"), "third");
  EXPECT_FALSE(std::filesystem::exists(path + "/a"));
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
  write_file(folder_ / "file", "");
  EXPECT_EQ(message_of([&] { FolderDraft(folder_ / "file"); }),
            "folder: " + folder_ / "file" + " is not a folder");
}

TEST_F(ShardTest, SyntheticDataIsAFunctionOfTheSeed) {
  const auto all_bytes = [&](const std::string& name, uint64_t seed) {
    write_synthetic_dataset(folder_ / name, seed);
    std::string bytes;
    for (const char* file : {"index.json", "train-mixed-00000.h5", "train-text-00000.h5",
                             "validation-mixed-00000.h5", "validation-text-00000.h5"})
      bytes += bytes_of_file(folder_ / name + "/" + file);
    return bytes;
  };
  EXPECT_EQ(all_bytes("a", 1), all_bytes("b", 1));
  EXPECT_NE(all_bytes("a", 1), all_bytes("c", 2));
  EXPECT_EQ(message_of([&] { write_synthetic_dataset(folder_ / "d", 1, {.length = 41}); }),
            "synthetic: 2 images take 42 tokens, a unit has 41");
}

TEST_F(ShardTest, NgramsEqualTheirFormulas) {
  const TokenDataset set(write(9, 1 << 20), "train");
  const NgramBaseline baseline(set);
  // Scored text targets: 6 three times, 5 three times, 2 three times, 7 once, of 15 ids; image targets: 4 three times.
  EXPECT_DOUBLE_EQ(baseline.unigram_nats(6), -std::log(4.0 / 25));
  EXPECT_DOUBLE_EQ(baseline.unigram_nats(9), -std::log(1.0 / 25));
  EXPECT_DOUBLE_EQ(baseline.unigram_nats(4), 0);
  // After 5 stood 7 and 2, once each.
  EXPECT_DOUBLE_EQ(baseline.bigram_nats(5, 7), -std::log((1 + 2 * (2.0 / 25)) / (2 + 2)));
  EXPECT_DOUBLE_EQ(baseline.bigram_nats(5, 6), -std::log((0 + 2 * (4.0 / 25)) / (2 + 2)));
  EXPECT_DOUBLE_EQ(baseline.bigram_nats(9, 6), baseline.unigram_nats(6)) << "nothing was seen after 9";
  double text = 0;
  for (int32_t previous : {0, 5, 7})
    for (int32_t id = 0; id < 16; ++id)
      if (id != 4) text += std::exp(-baseline.bigram_nats(previous, id));
  EXPECT_NEAR(text, 3, 1e-12) << "probabilities of three contexts sum to one each";
}

TEST_F(ShardTest, NgramScoresCountEveryScoredTargetOnce) {
  write_synthetic_dataset(folder_ / "s", 1);
  const TokenDataset train(folder_ / "s", "train"), validation(folder_ / "s", "validation");
  const NgramBaseline baseline(train);
  std::vector<uint8_t> plain(32);
  plain[3] = plain[4] = 1;
  const std::vector<UnitRef> units = all_units(validation);
  const NgramScores scores = baseline.score(validation, units, plain);
  PerModality expected{};
  for (const UnitRef unit : units)
    for (size_t m = 0; m < kModalities; ++m) expected[m] += validation.target_counts(unit)[m];
  EXPECT_EQ(scores.text.tokens, expected[0]);
  EXPECT_EQ(scores.image_plain.tokens + scores.image_other.tokens, expected[1]);
  EXPECT_GT(scores.image_plain.tokens, 0);
  EXPECT_LT(scores.text.bigram(), scores.text.unigram());
  EXPECT_EQ(message_of([&] { baseline.score(validation, units, std::vector<uint8_t>(5)); }),
            "ngram: plain marks 5 codes of 32");
}

}  // namespace
}  // namespace tessera
