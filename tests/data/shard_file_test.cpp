// Shards that are not as they must be, and shards that other tools have laid out anew.

#include "data/shard_file.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <functional>

#include "data/fingerprint.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/command.h"

namespace tessera {
namespace {

template <class T>
uint64_t hash(std::span<const T> values) {
  return hash_of(std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
}

/// An array as a shard may hold it, right or wrong.
struct Array {
  std::vector<int64_t> shape;
  std::vector<int64_t> values;
  hdf5::Element element;
  bool missing = false;
  bool hashed = true;

  template <class T>
  void write_as(hdf5::File& file, const std::string& name) const {
    const std::vector<T> stored(values.begin(), values.end());
    file.write(name, shape, std::span<const T>(stored));
    char digits[20];
    std::snprintf(digits, sizeof digits, "%016llx",
                  static_cast<unsigned long long>(hash(std::span<const T>(stored))));
    if (hashed) file.set_attribute(name, "xxh3", std::string(digits));
  }
  void write(hdf5::File& file, const std::string& name) const {
    if (missing) return;
    if (element == hdf5::Element::u16) write_as<uint16_t>(file, name);
    if (element == hdf5::Element::i32) write_as<int32_t>(file, name);
    if (element == hdf5::Element::i64) write_as<int64_t>(file, name);
    if (element == hdf5::Element::u8) write_as<uint8_t>(file, name);
    if (element == hdf5::Element::f32) write_as<float>(file, name);
  }
};

/// Three units of six tokens with one image of one code each; checksums are those of whatever is written.
struct Shard {
  std::map<std::string, Array> arrays{
      {"/tokens", {{3, 6}, {0, 6, 4, 5, 7, 2, 0, 2, 0, 6, 4, 5, 0, 6, 4, 5, 2, 1}, hdf5::Element::u16}},
      {"/modality", {{3, 6}, {0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}, hdf5::Element::u8}},
      {"/documents", {{5}, {0, 0, 2, 0, 5}, hdf5::Element::i32}},
      {"/unit_documents", {{4}, {0, 1, 3, 5}, hdf5::Element::i64}},
      {"/images", {{3}, {1, 1, 1}, hdf5::Element::i32}},
      {"/token_counts", {{3, 2}, {5, 1, 5, 1, 4, 1}, hdf5::Element::i32}},
      {"/targets", {{3, 2}, {4, 1, 3, 1, 3, 1}, hdf5::Element::i32}}};
  std::map<std::string, std::string> texts{{"schema", "tessera.shard"},
                                           {"fingerprint", "f"},
                                           {"split", "train"},
                                           {"kind", "mixed"},
                                           {"source", "s"}};
  std::map<std::string, int64_t> numbers{{"version", 2},         {"length", 6},      {"codes_per_image", 1},
                                         {"images_per_unit", 1}, {"image_codes", 1}, {"text_pieces", 9}};

  void write(const std::string& path) const {
    hdf5::File file = hdf5::File::create(path);
    for (const auto& [name, value] : texts) file.set_attribute("/", name, value);
    for (const auto& [name, value] : numbers) file.set_attribute("/", name, value);
    for (const auto& [name, array] : arrays) array.write(file, name);
    if (!arrays.contains("/checksums")) checksums().write(file, "/checksums");
    file.close();
  }
  Array checksums() const {
    const std::vector<int64_t>& ids = arrays.at("/tokens").values;
    const std::vector<uint16_t> tokens(ids.begin(), ids.end());
    Array sums{{3}, {}, hdf5::Element::i64};
    for (size_t unit = 0; unit < 3; ++unit)
      sums.values.push_back(
          static_cast<int64_t>(hash(std::span<const uint16_t>(tokens).subspan(6 * unit, 6))));
    return sums;
  }
};

class ShardFileTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(set_); }
  std::vector<std::vector<int32_t>> read(const std::string& name) const {
    const ShardFile shard(set_, {.file = name, .units = 3}, attributes());
    std::vector<std::vector<int32_t>> units(3, std::vector<int32_t>(6));
    for (int64_t unit = 0; unit < 3; ++unit) shard.read(unit, units[static_cast<size_t>(unit)]);
    return units;
  }
  /// What is said of a shard after a change, without the file's name, which must be there.
  std::string refusal(const std::function<void(Shard&)>& change) const {
    Shard shard;
    change(shard);
    shard.write(path_);
    std::string message = message_of([&] { read("shard.h5"); });
    const size_t at = message.find(path_);
    if (at == std::string::npos) return "no file in: " + message;
    return message.erase(at, path_.size());
  }
  static ShardAttributes attributes() {
    return {.split = "train",
            .source = "s",
            .fingerprint = "f",
            .length = 6,
            .codes_per_image = 1,
            .images_per_unit = 1,
            .vocabulary = {.image_codes = 1, .text_pieces = 9}};
  }

  TemporaryFolder folder_;
  const std::string set_ = folder_ / "set", path_ = set_ + "/shard.h5";
};

TEST_F(ShardFileTest, ReadsWhatIsRight) {
  Shard().write(path_);
  EXPECT_EQ(read("shard.h5"),
            (std::vector<std::vector<int32_t>>{{0, 6, 4, 5, 7, 2}, {0, 2, 0, 6, 4, 5}, {0, 6, 4, 5, 2, 1}}));
}

TEST_F(ShardFileTest, RefusesOtherAttributes) {
  EXPECT_EQ(refusal([](Shard& shard) { shard.texts["schema"] = "other"; }),
            "dataset: : schema is other, index.json says tessera.shard");
  EXPECT_EQ(refusal([](Shard& shard) { shard.texts["source"] = "t"; }),
            "dataset: : source is t, index.json says s");
  EXPECT_EQ(refusal([](Shard& shard) { shard.numbers["length"] = 8; }),
            "dataset: : length is 8, index.json says 6");
  EXPECT_EQ(refusal([](Shard& shard) { shard.numbers["images_per_unit"] = 2; }),
            "dataset: : images_per_unit is 2, index.json says 1");
  EXPECT_EQ(refusal([](Shard& shard) { shard.numbers.erase("version"); }),
            "hdf5: : / has no attribute version");
}

TEST_F(ShardFileTest, RefusesArraysOfAnotherRankShapeOrType) {
  for (const auto& [name, right] : Shard().arrays) {
    if (name == "/images") continue;  // for other readers: the loader does not need it
    const std::string array = name;
    EXPECT_EQ(refusal([&](Shard& shard) { shard.arrays[array].missing = true; }),
              "hdf5:  has no dataset " + name);
    EXPECT_EQ(refusal([&](Shard& shard) { shard.arrays[array].element = hdf5::Element::f32; }),
              str("dataset: : ", name, " holds f32, expected ", hdf5::name_of(right.element)));
    const bool one_dim = right.shape.size() == 1;
    EXPECT_EQ(refusal([&](Shard& shard) {
                shard.arrays[array].shape.push_back(1);
              }).starts_with(str("dataset: : ", name, one_dim ? " is [" : " is [3, ")),
              true);
    EXPECT_TRUE(refusal([&](Shard& shard) {
                  std::vector<int64_t>& shape = shard.arrays[array].shape;
                  shape.insert(shape.begin(), 1);
                }).starts_with("dataset: : " + name + " is [1, "))
        << name;
  }
  EXPECT_EQ(refusal([](Shard& shard) { shard.arrays["/tokens"].shape = {18}; }),
            "dataset: : /tokens is [18], expected [3, 6]");
  EXPECT_EQ(refusal([](Shard& shard) {
              shard.arrays["/tokens"].shape = {6, 3};
            }),
            "dataset: : /tokens is [6, 3], expected [3, 6]");
  EXPECT_EQ(refusal([](Shard& shard) {
              shard.arrays["/documents"].shape = {5, 1};
            }),
            "dataset: : /documents is [5, 1], expected [n]");
  EXPECT_EQ(refusal([](Shard& shard) {
              shard.arrays["/targets"] = {{2, 2}, {4, 1, 3, 1}, hdf5::Element::i32};
            }),
            "dataset: : /targets is [2, 2], expected [3, 2]");
}

TEST_F(ShardFileTest, RefusesOffsetsOutOfOrder) {
  const auto with = [this](const std::string& name, size_t entry, int64_t value) {
    return refusal([&](Shard& shard) { shard.arrays[name].values[entry] = value; });
  };
  EXPECT_EQ(with("/unit_documents", 0, 1), "dataset: : /unit_documents[0] is 1, expected 0");
  EXPECT_EQ(with("/unit_documents", 1, 0),
            "dataset: : /unit_documents[1] is 0, expected more than the entry before");
  EXPECT_EQ(with("/unit_documents", 2, 1),
            "dataset: : /unit_documents[2] is 1, expected more than the entry before");
  EXPECT_EQ(with("/unit_documents", 2, 5),
            "dataset: : /unit_documents[2] is 5, expected less than 5, the documents there are");
  EXPECT_EQ(with("/unit_documents", 3, 4),
            "dataset: : /unit_documents[3] is 4, expected 5, the documents there are");
  EXPECT_EQ(with("/documents", 0, 1), "dataset: : /documents[0] is 1, expected 0, where unit 0 starts");
  EXPECT_EQ(with("/documents", 3, -1), "dataset: : /documents[3] is -1, expected 0, where unit 2 starts");
  EXPECT_EQ(with("/documents", 2, 0),
            "dataset: : /documents[2] is 0, expected a row of unit 1 after 0 and before 6");
  EXPECT_EQ(with("/documents", 4, 6),
            "dataset: : /documents[4] is 6, expected a row of unit 2 after 0 and before 6");
}

TEST_F(ShardFileTest, RefusesCountsThatUnitsCannotHave) {
  EXPECT_EQ(
      refusal([](Shard& shard) { shard.arrays["/token_counts"].values[3] = 2; }),
      "dataset: : /token_counts[1] says 5 text and 2 image tokens: a mixed unit of 6 tokens has 1 of images");
  EXPECT_EQ(
      refusal([](Shard& shard) { shard.arrays["/token_counts"].values[4] = 6; }),
      "dataset: : /token_counts[2] says 6 text and 1 image tokens: a mixed unit of 6 tokens has 1 of images");
  EXPECT_EQ(refusal([](Shard& shard) { shard.arrays["/targets"].values[5] = 2; }),
            "dataset: : /targets[2] says 3 text and 2 image targets among 4 text and 1 image tokens");
}

TEST_F(ShardFileTest, RefusesIdsOutOfTheVocabulary) {
  EXPECT_EQ(refusal([](Shard& shard) { shard.arrays["/tokens"].values[10] = 16; }),
            "dataset: : /tokens[1, 4] is 16, which is not among 16 ids (1 image codes, 9 text pieces)");
  EXPECT_EQ(refusal([](Shard& shard) { shard.arrays["/tokens"].values[17] = 65535; }),
            "dataset: : /tokens[2, 5] is 65535, which is not among 16 ids (1 image codes, 9 text pieces)");
}

TEST_F(ShardFileTest, RefusesWhatIsNotWhatWasWritten) {
  const auto said = [this](const std::function<void(Shard&)>& change) {
    const std::string message = refusal(change);
    return message.substr(0, message.find(": its checksum"));
  };
  EXPECT_EQ(said([](Shard& shard) {
              shard.arrays["/checksums"] = shard.checksums();
              shard.arrays["/tokens"].values[7] = 3;
            }),
            "dataset: : /tokens[1] is damaged");
  EXPECT_EQ(refusal([](Shard& shard) { shard.arrays["/targets"].hashed = false; }),
            "hdf5: : /targets has no attribute xxh3");
  // A bit that flips in a table.
  Shard().write(path_);
  std::string bytes = bytes_of_file(path_);
  const int32_t documents[] = {0, 0, 2, 0, 5};
  const size_t at = bytes.find(std::string_view(reinterpret_cast<const char*>(documents), sizeof documents));
  ASSERT_NE(at, std::string::npos);
  bytes[at + 8] = 3;
  write_file(path_, bytes);
  const std::string message = message_of([&] { read("shard.h5"); });
  EXPECT_TRUE(message.starts_with("dataset: " + path_ + ": /documents is damaged: its checksum is "))
      << message;
}

TEST_F(ShardFileTest, ReadsShardsInChunksAndPacked) {
  Shard().write(path_);
  const auto right = read("shard.h5");
  for (const auto& options : {std::vector<std::string>{"-l", "tokens:CHUNK=2x6"},
                              {"-l", "tokens:CHUNK=1x6"},
                              {"-l", "tokens:CHUNK=2x4"},
                              {"-l", "tokens:CHUNK=3x6", "-f", "tokens:GZIP=6"},
                              {"-f", "tokens:FLET"}}) {
    std::vector<std::string> words{"h5repack"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {path_, set_ + "/other.h5"});
    ASSERT_EQ(run_command(words).code, 0) << testing::PrintToString(words);
    EXPECT_EQ(read("other.h5"), right) << testing::PrintToString(words);
  }
}

TEST_F(ShardFileTest, NamesTheUnitOfADamagedChunk) {
  Shard().write(path_);
  for (const char* packed : {"tokens:NONE", "tokens:FLET"}) {
    const std::string other = set_ + "/other.h5";
    ASSERT_EQ(run_command({"h5repack", "-l", "tokens:CHUNK=1x6", "-f", packed, path_, other}).code, 0);
    std::string bytes = bytes_of_file(other);
    const uint16_t last[] = {0, 6, 4, 5, 2, 1};
    const size_t at = bytes.find(std::string_view(reinterpret_cast<const char*>(last), sizeof last));
    ASSERT_NE(at, std::string::npos);
    bytes[at + 4] = 5;
    write_file(other, bytes);
    const std::string message = message_of([&] { read("other.h5"); });
    EXPECT_TRUE(message.starts_with("dataset: " + other + ": /tokens[2] ")) << message;
  }
}

}  // namespace
}  // namespace tessera
