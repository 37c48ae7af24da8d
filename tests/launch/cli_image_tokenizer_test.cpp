// The commands around image tokenizers, as their users run them.

#include <fstream>

#include "data/shard.h"
#include "tests/launch/cli_corpus.h"

namespace tessera {
namespace {

class CliImageTokenizerTest : public CliCorpusTest {
 protected:
  Words train_tokenizer_words(const Words& overrides = {}) const {
    return tessera_words({"train-image-tokenizer", "manifest=" + manifest_, "out=" + run_, "steps=6",
                          "threads=1", "micro_batches=2", "images=2", "model.image_side=16",
                          "model.patch_side=4", "model.codes=20", "model.code_width=4", "model.width=16",
                          "model.blocks=1", "model.heads=2"}) +
           overrides;
  }
  Words tokenize_words(const Words& pictures) const {
    return tessera_words({"tokenize-images", "--tokenizer", run_, "--out", codes_}) + pictures;
  }
  Words decode_words() const {
    return tessera_words({"decode-images", codes_, "--tokenizer", run_, "--out", folder_ / "decoded"});
  }

  const std::string run_ = folder_ / "tokenizer", codes_ = folder_ / "codes.jsonl";
};

TEST_F(CliImageTokenizerTest, PicturesToCodesAndBack) {
  expect_success(train_tokenizer_words());
  expect_success(train_tokenizer_words({"steps=8"}));  // goes on
  expect_success(tessera_words({"inspect", run_}));
  expect_success(tokenize_words({picture(1), picture(7)}));
  std::ifstream lines(codes_);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const Json first = Json::parse(line);
  EXPECT_EQ(first["image"], picture(1));
  EXPECT_EQ(first["codes"].size(), 16u);
  expect_success(decode_words());
  for (const char* name : {"00000.png", "00001.png"})
    EXPECT_EQ(read_image(folder_ / "decoded/" + name).width, 16) << name;
}

TEST_F(CliImageTokenizerTest, ComparesWithKMeans) {
  expect_success(train_tokenizer_words());
  const std::string out = folder_ / "comparison";
  expect_success(tessera_words({"compare-image-tokenizers", "--learned", run_, "--out", out}));
  const Json result = read_json(out + "/comparison.json");
  EXPECT_EQ(result["pictures"], 2);
  for (const char* name : {"learned", "k_means"})
    for (const char* key : {"mse", "psnr", "codes_used", "code_perplexity"})
      EXPECT_TRUE(result[name][key].is_number()) << name << " " << key;
  const Image sheet = read_image(out + "/contact_sheet.png");
  EXPECT_EQ(sheet.width, 2 * 20 + 4);
  EXPECT_EQ(sheet.height, 3 * 20 + 4);
  expect_success(prepare_words({"images.codes=30"}));
  expect_refusal(
      tessera_words({"compare-image-tokenizers", "--learned", run_, "--codebook", tokens_, "--out", out}), 1,
      {"gives 16 of 30 codes", "16 of 20"});
  expect_refusal(tessera_words({"compare-image-tokenizers", "--learned", tokens_, "--out", out}), 1,
                 {"is not a learned tokenizer"});
}

TEST_F(CliImageTokenizerTest, ADatasetKeepsItsTokenizer) {
  expect_success(train_tokenizer_words());
  expect_success(prepare_words({"image_tokenizer=" + run_}));
  EXPECT_EQ(run_command(prepare_words({"image_tokenizer=" + run_})).err, tokens_ + " is up to date\n");
  std::filesystem::remove_all(run_);
  expect_success(tessera_words({"inspect", tokens_}));
  EXPECT_FALSE(std::filesystem::exists(tokens_ + "/image_codebook.h5"));

  const DatasetIndex index = read_index(tokens_);
  EXPECT_EQ(index.codes_per_image, 16);
  EXPECT_EQ(index.vocabulary.image_codes, 20);
  train({"data=" + tokens_, str("model.vocab=", index.vocabulary.size()), "loader.text_units=0"});
  expect_success(tessera_words({"evaluate", "--run", out_}));
  EXPECT_TRUE(read_json(out_ + "/evaluation.json")["image"]["nats"].is_number());

  const std::string again = folder_ / "again";
  expect_success(prepare_words({"tokenizers=" + tokens_, "out=" + again}));
  for (const char* name : {"/samples/00_reconstruction.png", "/train-mixed-00000.h5"})
    EXPECT_TRUE(std::filesystem::exists(again + name)) << name;
  EXPECT_EQ(bytes_of_file(again + "/samples/00_reconstruction.png"),
            bytes_of_file(tokens_ + "/samples/00_reconstruction.png"));
}

TEST_F(CliImageTokenizerTest, RefusesPictures) {
  expect_success(train_tokenizer_words());
  const auto refuses = [&](const std::string& bytes, const Words& parts) {
    write_file(folder_ / "odd.png", bytes);
    expect_refusal(tokenize_words({picture(1), folder_ / "odd.png"}), 1,
                   Words{"image: " + folder_ / "odd.png"} + parts);
  };
  refuses("", {"is empty"});
  refuses("GIF89a", {"is neither PNG nor JPEG"});
  refuses(bytes_of_file(picture(3)).substr(0, 40), {"damaged PNG"});
  expect_refusal(tokenize_words({folder_ / "none.png"}), 1, {"cannot read " + folder_ / "none.png"});
  // 20,000 x 20,000 white pixels would be 1.2 GB: the header alone decides.
  std::string huge = bytes_of_file(picture(3));
  huge.replace(16, 8, std::string("\0\0\x4e\x20\0\0\x4e\x20", 8));
  huge.replace(29, 4, std::string("\x6c\x12\xd1\x6e", 4));
  refuses(huge, {"20000 x 20000 pixels are more than"});
}

TEST_F(CliImageTokenizerTest, TakesPicturesOfAnyShape) {
  expect_success(train_tokenizer_words());
  for (const auto& [width, height] : {std::pair<int64_t, int64_t>{1, 1}, {20000, 1}, {3, 500}}) {
    const auto png =
        encode_png({width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), 99)});
    write_file(folder_ / "odd.png", {png.begin(), png.end()});
    expect_success(tokenize_words({folder_ / "odd.png"}));
  }
}

TEST_F(CliImageTokenizerTest, RefusesCodes) {
  expect_success(train_tokenizer_words());
  const auto refuses = [&](const std::string& lines, const Words& parts) {
    write_file(codes_, lines);
    expect_refusal(decode_words(), 1, Words{codes_} + parts);
  };
  const std::string right = "{\"codes\":" + Json(std::vector<int>(16, 3)).dump() + "}\n";
  refuses("", {"holds no codes"});
  refuses(right + "{\"codes\":[", {"line 2: must be an object with an array named codes"});
  refuses(right + "{\"codes\":[1,2]}\n", {"line 2: image tokenizer: an image has 16 codes, got 2"});
  refuses("{\"codes\":" + Json(std::vector<int>(16, 20)).dump() + "}\n",
          {"line 1: image tokenizer: no code 20"});
  refuses("{\"codes\":[-1]}\n", {"line 1: codes must be whole numbers that are not negative, got -1"});
  refuses("{\"codes\":[4294967296]}\n", {"got 4294967296"});
}

TEST_F(CliImageTokenizerTest, RefusesSettings) {
  const auto refuses = [&](const Words& overrides, const Words& parts) {
    expect_refusal(train_tokenizer_words(overrides), 1, parts);
  };
  refuses({"model.blocs=2"}, {"unknown key \"model.blocs\"; did you mean \"model.blocks\"?"});
  refuses({"images=0"}, {"images must be in [1, 65536], got 0"});
  refuses({"manifest=" + folder_ / "none.jsonl"}, {"none.jsonl cannot be opened"});
  expect_refusal(prepare_words({"image_tokenizer=" + folder_ / "none"}), 1,
                 {"there is no " + folder_ / "none"});
}

}  // namespace
}  // namespace tessera
