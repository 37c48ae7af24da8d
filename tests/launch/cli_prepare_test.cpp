// `tessera prepare` with input that it cannot take: an earlier dataset of the same name stays as it was.

#include "tests/launch/cli_corpus.h"

namespace tessera {
namespace {

class CliPrepareTest : public CliCorpusTest {
 protected:
  void refuses(const Words& overrides, const Words& parts) const {
    expect_refusal(prepare_words(overrides), 1, parts);
  }
};

TEST_F(CliPrepareTest, MakesADatasetOnce) {
  expect_success(prepare_words());
  const FileTree first = file_tree(tokens_);
  const CommandResult again = run_command(prepare_words());
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(again.err, tokens_ + " is up to date\n");
  expect_same_files(first, file_tree(tokens_));
  expect_success(tessera_words({"inspect", tokens_}));
}

TEST_F(CliPrepareTest, RefusesImages) {
  expect_success(prepare_words());
  const std::string whole = bytes_of_file(picture(3));
  const auto refuses_image = [&](const std::string& bytes, const std::string& sentence) {
    write_file(picture(3), bytes);
    refuses({}, {"image: ", picture(3), sentence});
  };
  refuses_image("", "is empty");
  refuses_image("GIF89a", "is neither PNG nor JPEG");
  refuses_image(whole.substr(0, whole.size() / 2), "damaged PNG");
  refuses_image(whole.substr(0, 20), "damaged PNG");
  refuses_image(with_size(whole, 100000, 100000), "100000 x 100000 pixels are more than");
  refuses_image("\xff\xd8\xff\xe0 and no picture", "damaged JPEG");
  std::filesystem::remove(picture(3));
  refuses({}, {picture(3), "cannot be opened"});
  std::filesystem::create_directory(picture(3));
  refuses({}, {picture(3)});
}

TEST_F(CliPrepareTest, RefusesManifests) {
  expect_success(prepare_words());
  const std::string whole = bytes_of_file(manifest_);
  const std::vector<std::pair<std::string, std::string>> cases{
      {"{\"id\": \"x\",", "line 49: not valid JSON"},
      {"[1]", "line 49: a document is a JSON object"},
      {"{\"id\":\"x\",\"sorce\":\"s\"}", "line 49: unknown key \"sorce\"; did you mean \"source\"?"},
      {"{\"id\":3}", "line 49: id must be a string, got 3"},
      {"{\"id\":\"x\",\"source\":\"s\",\"parts\":[{\"picture\":\"x.png\"}]}",
       "line 49: unknown key \"parts[0].picture\""},
      {"{\"id\":\"p1\",\"source\":\"s\",\"parts\":[{\"text\":\"x\"}]}",
       "line 49: id \"p1\" comes a second time"}};
  for (const auto& [line, sentence] : cases) {
    write_file(manifest_, whole + line + "\n");
    refuses({}, {"manifest: " + manifest_ + " " + sentence});
  }
  write_file(manifest_, "");
  refuses({}, {manifest_ + " has no documents"});
  refuses({"manifest=" + folder_ / "none.jsonl"}, {"none.jsonl cannot be opened"});
}

TEST_F(CliPrepareTest, RefusesSettings) {
  refuses({"lenght=64"}, {"command line: unknown key \"lenght\"; did you mean \"length\"?"});
  refuses({"length=long"}, {"length must be a whole number, got \"long\""});
  refuses({"image_share=1.5"}, {"image_share must be in [0, 1], got 1.5"});
  refuses({"images.patch_side=5"}, {"patch_side"});
  refuses({"max_text_bytes.other=1000"}, {"max_text_bytes names source \"other\""});
  refuses({"out=" + folder_ / ""}, {"holds other things than a dataset"});
  refuses({"tokenizers=" + folder_ / "none"}, {folder_ / "none"});
}

}  // namespace
}  // namespace tessera
