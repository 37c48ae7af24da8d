// `tessera generate` as its users run it: pages with text and pictures, and input that it cannot take.

#include <fstream>

#include "tests/launch/cli_corpus.h"

namespace tessera {
namespace {

constexpr size_t kCodes = 16;  ///< of a picture of 16 x 16 pixels in patches of 4

class CliGenerateTest : public CliCorpusTest {
 protected:
  void SetUp() override {
    CliCorpusTest::SetUp();
    expect_success(prepare_words());
    vocab_ = read_json(tokens_ + "/index.json")["vocabulary"]["text_pieces"].get<int64_t>() + 26;
    train_on("[\"2t2i\"]");
  }

  void train_on(const std::string& feed_forward) const {
    train({"data=" + tokens_, "model.vocab=" + std::to_string(vocab_), "loader.text_units=0",
           "model.feed_forward=" + feed_forward, "steps=20"});
  }

  Words generate_words(const Words& arguments = {}) const {
    return tessera_words({"generate", out_, "--out", generated_, "--threads", "1"}) + arguments;
  }
  /// Of the only prompt, or of prompt number.
  Json reply(size_t number = 0) const {
    std::ifstream lines(generated_ + "/replies.jsonl");
    std::string line;
    for (size_t i = 0; i <= number; ++i) std::getline(lines, line);
    return Json::parse(line);
  }
  void refuses(const Words& arguments, const Words& parts) const {
    expect_refusal(generate_words(arguments), 1, parts);
  }

  int64_t vocab_ = 0;
  const std::string generated_ = folder_ / "generated";
};

TEST_F(CliGenerateTest, GoesOnInTextAndPictures) {
  expect_success(generate_words({"--text", "a picture with the number 3", "--image", picture(3), "--text",
                                 "and then", "--begin-image", "--images", "2"}));
  const Json line = reply();
  ASSERT_EQ(line["prompt"].size(), 3u);
  EXPECT_EQ(line["prompt"][0]["text"], "a picture with the number 3");
  EXPECT_EQ(line["prompt"][1]["codes"].size(), kCodes);
  EXPECT_EQ(line["prompt"][2]["text"], "and then");
  ASSERT_GE(line["reply"].size(), 1u);
  size_t pictures = 0;
  for (const Json& part : line["reply"]) {
    if (!part.contains("image")) continue;
    ++pictures;
    EXPECT_EQ(part["codes"].size(), kCodes);
    EXPECT_EQ(read_image(generated_ + "/" + part["image"].get<std::string>()).width, 16);
  }
  EXPECT_TRUE(line["reply"][0].contains("image"));
  EXPECT_TRUE(pictures == 1 || pictures == 2);
  const std::string page = bytes_of_file(generated_ + "/page.md");
  EXPECT_NE(page.find("![picture](images/00000_prompt_0.png)"), std::string::npos) << page;
  EXPECT_NE(page.find("![picture](images/00000_reply_0.png)"), std::string::npos) << page;
}

TEST_F(CliGenerateTest, RepeatsItselfForTheSameSeedAlone) {
  const auto replies = [&](const Words& arguments) {
    expect_success(generate_words(Words{"--text", "a picture", "--temperature", "1.5"} + arguments));
    return bytes_of_file(generated_ + "/replies.jsonl");
  };
  const std::string first = replies({"--seed", "3"});
  EXPECT_EQ(replies({"--seed", "3"}), first);
  EXPECT_NE(replies({"--seed", "4"}), first);
}

TEST_F(CliGenerateTest, AnswersAManifestOfPrompts) {
  expect_success(generate_words({"--prompts", manifest_, "--begin-image", "--max-tokens", "18"}));
  for (size_t number = 0; number < 8; ++number) {
    const Json line = reply(number);
    EXPECT_EQ(line["id"], str("p", number));
    ASSERT_EQ(line["reply"].size(), 1u);
    EXPECT_EQ(line["reply"][0]["codes"].size(), kCodes);
    EXPECT_EQ(line["stopped"], "length");
  }
  EXPECT_EQ(reply(47)["tokens"], 18);
}

TEST_F(CliGenerateTest, EndsBeforeAStopString) {
  const Words words{"--text", "the quick brown", "--temperature", "0", "--images", "0"};
  expect_success(generate_words(words));
  const std::string whole = reply()["reply"][0]["text"];
  ASSERT_GT(whole.size(), 4u);
  const std::string stop = whole.substr(whole.size() / 2, 2);
  expect_success(generate_words(words + Words{"--stop", stop, "--stop", "never"}));
  const Json line = reply();
  const std::string text = line["reply"].empty() ? "" : line["reply"][0]["text"].get<std::string>();
  EXPECT_EQ(line["stopped"], "stop");
  EXPECT_TRUE(whole.starts_with(text));
  EXPECT_EQ(text.find(stop), std::string::npos);
}

TEST_F(CliGenerateTest, TakesPicturesOfAnyShape) {
  for (const auto& [width, height] : {std::pair{1, 1}, {20000, 1}, {1, 20000}, {2000, 30}}) {
    const Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), 200)};
    const auto png = encode_png(image);
    write_file(folder_ / "odd.png", {png.begin(), png.end()});
    expect_success(generate_words({"--image", folder_ / "odd.png", "--max-tokens", "3"}));
    EXPECT_EQ(reply()["prompt"][0]["codes"].size(), kCodes);
  }
  expect_success(generate_words({"--max-tokens", "3"}));  // no prompt at all
  EXPECT_EQ(reply()["prompt"], Json::array());
}

TEST_F(CliGenerateTest, RefusesPromptsThatItCannotRead) {
  const std::string whole = bytes_of_file(picture(3));
  refuses({"--image", folder_ / "missing.png"}, {folder_ / "missing.png"});
  write_file(picture(3), with_size(whole, 20000, 20000));
  refuses({"--image", picture(3)}, {picture(3), "20000 x 20000 pixels are more than"});
  write_file(picture(3), whole.substr(0, whole.size() / 2));
  refuses({"--image", picture(3)}, {picture(3), "damaged PNG"});
  refuses({"--image", manifest_}, {manifest_, "is neither PNG nor JPEG"});
  std::string text;
  for (int i = 0; i < 200; ++i) text += "jumps over ";
  refuses({"--text", text}, {"prompt: the prompt has ", "does not fit the context of 64"});
  refuses({"--text", "the fox", "--begin-image", "--max-tokens", "17"}, {"a picture takes 18 tokens"});

  const std::string prompts = folder_ / "prompts.jsonl";
  write_file(prompts, "{\"id\": \"x\"");
  refuses({"--prompts", prompts}, {prompts, "line 1", "not valid JSON"});
  write_file(prompts, "{\"id\":\"x\",\"source\":\"y\",\"parts\":[{\"txt\":\"z\"}]}\n");
  refuses({"--prompts", prompts}, {
                                      prompts,
                                      "line 1",
                                      "unknown key \"parts[0].txt\"",
                                  });
  write_file(prompts, "\n");
  refuses({"--prompts", prompts}, {prompts, "holds no prompts"});
  write_file(prompts, "{\"id\":\"x\",\"source\":\"y\",\"parts\":[{\"text\":\"z\"}]}\n");
  refuses({"--prompts", prompts, "--text", "more"}, {"not both"});
  expect_refusal(generate_words({"--temperature", "-1"}), 2, {"--temperature"});
}

TEST_F(CliGenerateTest, RefusesModelsAndDataThatDoNotFit) {
  expect_refusal(tessera_words({"generate", folder_ / "nothing", "--out", generated_}), 1,
                 {folder_ / "nothing", "holds no checkpoint"});
  refuses({"--routing", "auxiliary_routers"}, {"no auxiliary routers", "tessera train-routers"});
  refuses({"--data", data_}, {data_, "ids"});
  refuses({"--data", folder_ / "missing"}, {folder_ / "missing"});
  refuses({"--context", "1"}, {"does not fit the context of 1"});
  // A checkpoint whose tensors have another shape than its config says.
  const std::string manifest = out_ + "/step_00000020/manifest.json";
  std::string bytes = bytes_of_file(manifest);
  const std::regex width("\"width\": *16");
  ASSERT_TRUE(std::regex_search(bytes, width)) << bytes;
  write_file(manifest, std::regex_replace(bytes, width, "\"width\": 32"));
  refuses({}, {out_ + "/step_00000020"});
}

}  // namespace
}  // namespace tessera
