// Training an image tokenizer: the same bits on any number of ranks and after a stop, codes that start anew, and what a
// checkpoint must hold to be one.
#include "launch/train_image_tokenizer.h"

#include "launch/code_usage.h"
#include "launch/learned_tokenizer.h"
#include "launch/metrics.h"
#include "launch/patches.h"
#include "parallel/checkpoint.h"
#include "tests/launch/cli_corpus.h"
#include "tests/support/run_results.h"

namespace tessera {
namespace {

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class ImageTokenizerTest : public CliCorpusTest {
 protected:
  ImageTokenizerConfig config(const std::string& name) const {
    ImageTokenizerConfig config;
    config.manifest = manifest_;
    config.out = folder_ / name;
    config.steps = 8;
    config.save_every = 100;
    config.threads = 1;
    config.micro_batches = 4;  // not a multiple of 3 ranks
    config.images = 2;
    config.revive_every = 3;
    config.model = {.image_side = 16,
                    .patch_side = 4,
                    .codes = 12,
                    .code_width = 4,
                    .width = 16,
                    .blocks = 1,
                    .heads = 2};
    config.schedule.warmup = 2;
    return config;
  }
  /// Trains and returns the folder of the last checkpoint.
  std::string train_tokenizer(const ImageTokenizerConfig& config, int ranks = 1) const {
    run_ranks(ranks, [&](Communicator& world) { EXPECT_EQ(train_image_tokenizer(config, world), 0); });
    return latest_checkpoint(config.out).value();
  }
  /// What all ranks must measure alike.
  static std::vector<std::vector<double>> measured(const ImageTokenizerConfig& config) {
    std::vector<std::vector<double>> steps;
    for (const MetricsLine& line : read_metrics(config.out + "/metrics.jsonl")) {
      steps.emplace_back();
      for (const char* key :
           {"loss", "mse", "psnr", "codes_used", "code_perplexity", "codes_revived", "gradient_norm"})
        steps.back().push_back(line.json.at(key).get<double>());
    }
    return steps;
  }
};

TEST_F(ImageTokenizerTest, RanksAndThreadsGiveTheSameBits) {
  const auto expected = checkpoint_bits(train_tokenizer(config("one")));
  ASSERT_FALSE(expected.empty());
  ASSERT_EQ(measured(config("one")).size(), 8u);
  double revived = 0;
  for (const std::vector<double>& step : measured(config("one"))) revived += step[5];
  EXPECT_GT(revived, 0);
  for (int ranks : {2, 3}) {
    const ImageTokenizerConfig settings = config(std::to_string(ranks));
    EXPECT_EQ(checkpoint_bits(train_tokenizer(settings, ranks)), expected) << ranks << " ranks";
    EXPECT_EQ(measured(settings), measured(config("one"))) << ranks << " ranks";
  }
  ImageTokenizerConfig threads = config("threads");
  threads.threads = 3;
  EXPECT_EQ(checkpoint_bits(train_tokenizer(threads)), expected);
}

TEST_F(ImageTokenizerTest, ResumeOnOtherRanksEqualsARunThatNeverStopped) {
  const auto expected = checkpoint_bits(train_tokenizer(config("whole")));
  ImageTokenizerConfig part = config("parts");
  part.stop_at = 5;  // between two steps that revive codes, so that the counts since then matter
  train_tokenizer(part, 2);
  EXPECT_EQ(checkpoint_bits(train_tokenizer(config("parts"), 3)), expected);
  EXPECT_EQ(measured(config("parts")), measured(config("whole")));
}

TEST_F(ImageTokenizerTest, LearnsToReconstruct) {
  ImageTokenizerConfig settings = config("long");
  settings.steps = 150;
  train_tokenizer(settings);
  const std::vector<std::vector<double>> steps = measured(settings);
  EXPECT_LT(steps.back()[1], steps.front()[1] / 4);
}

TEST_F(ImageTokenizerTest, EncodesAndDecodesAsItWasSaved) {
  const LearnedTokenizer tokenizer(train_tokenizer(config("run")));
  const Image picture = centre_square(read_image(this->picture(3)), 16);
  const std::vector<int32_t> codes = tokenizer.encode(picture);
  EXPECT_EQ(std::ssize(codes), 16);
  EXPECT_EQ(tokenizer.encode(picture), codes);
  const Image decoded = tokenizer.decode(codes);
  EXPECT_EQ(decoded.width, 16);
  EXPECT_EQ(tokenizer.plain().size(), 12u);
  tokenizer.save(folder_ / "saved");
  const auto reopened = open_image_tokenizer(folder_ / "saved");
  EXPECT_EQ(reopened->encode(picture), codes);
  EXPECT_EQ(reopened->decode(codes), decoded);
  EXPECT_EQ(message_of([&] {
              tokenizer.encode(Image{4, 4, std::vector<uint8_t>(48)});
            }),
            "image tokenizer: takes 16 x 16 pixels, got 4 x 4");
  EXPECT_EQ(message_of([&] { tokenizer.decode(std::vector<int32_t>(3)); }),
            "image tokenizer: an image has 16 codes, got 3");
  EXPECT_EQ(message_of([&] { tokenizer.decode(std::vector<int32_t>(16, 12)); }),
            "image tokenizer: no code 12, there are 12");
}

TEST_F(ImageTokenizerTest, RefusesWhatIsNoImageTokenizer) {
  const auto refusal = [&](const std::string& path) {
    return message_of([&] { open_image_tokenizer(path); });
  };
  const std::string checkpoint = train_tokenizer(config("run")), manifest = checkpoint + "/manifest.json";
  EXPECT_EQ(refusal(folder_ / "none"), "image tokenizer: there is no " + folder_ / "none");
  EXPECT_NE(refusal(folder_ / "").find("is neither a checkpoint, nor a run, nor a dataset"),
            std::string::npos);
  const std::string rank_file = checkpoint + "/rank_00000.h5", whole = bytes_of_file(rank_file);
  write_file(rank_file, whole.substr(0, whole.size() / 2));
  EXPECT_NE(refusal(checkpoint).find("rank_00000.h5 should have"), std::string::npos) << refusal(checkpoint);
  write_file(rank_file, whole);

  const Json right = read_json(manifest);
  const auto with = [&](const std::string& key, const Json& value) {
    Json wrong = right;
    wrong["state"]["image_tokenizer"][Json::json_pointer(key)] = value;
    write_json(manifest, wrong);
    return refusal(checkpoint);
  };
  EXPECT_NE(with("/window", {1, 2}).find("window has 2 counts for 12 codes"), std::string::npos);
  EXPECT_NE(with("/config/model/codes", 0).find("config.model.codes must be in [2, 65536], got 0"),
            std::string::npos);
  EXPECT_NE(with("/config/model/width", 32).find("is [8,16] there, [16,32] in this model"), std::string::npos)
      << with("/config/model/width", 32);
  Json other = right;
  other["state"] = {{"config", Json::object()}};
  write_json(manifest, other);
  EXPECT_NE(refusal(checkpoint).find("is a checkpoint, but not of an image tokenizer"), std::string::npos);
}

TEST_F(ImageTokenizerTest, RefusesToTrainOnWhatDoesNotFit) {
  const auto refusal = [&](const ImageTokenizerConfig& settings, int ranks = 1) {
    return message_of(
        [&] { run_ranks(ranks, [&](Communicator& world) { train_image_tokenizer(settings, world); }); });
  };
  ImageTokenizerConfig settings = config("refused");
  settings.manifest = "";
  EXPECT_EQ(refusal(settings), "train-image-tokenizer: manifest is not set");
  settings = config("refused");
  settings.micro_batches = 1;
  EXPECT_EQ(refusal(settings, 2), "micro_batches: 2 ranks need at least as many, got 1");
  settings = config("refused");
  settings.model.patch_side = 5;
  EXPECT_EQ(refusal(settings), "patch_side: must divide image_side 16, got 5");
  settings = config("refused");
  write_file(folder_ / "texts.jsonl",
             "{\"id\":\"t\",\"source\":\"s\",\"parts\":[{\"text\":\"no picture\"}]}\n");
  settings.manifest = folder_ / "texts.jsonl";
  EXPECT_NE(refusal(settings).find("has no pictures to learn from"), std::string::npos);
  train_tokenizer(config("refused"));
  settings = config("refused");
  settings.resume = false;
  EXPECT_NE(refusal(settings).find("resume is false but"), std::string::npos);
}

TEST(CodeUsage, CountsAndPerplexity) {
  const std::vector<int64_t> even{3, 3, 0, 3}, one{0, 0, 7, 0}, none(4, 0);
  EXPECT_DOUBLE_EQ(usage_of(even).used, 0.75);
  EXPECT_NEAR(usage_of(even).perplexity, 3, 1e-12);
  EXPECT_DOUBLE_EQ(usage_of(one).perplexity, 1);
  EXPECT_EQ(usage_of(none).used, 0);
  EXPECT_EQ(usage_of(none).perplexity, 0);
}

/// A codebook of four codes of two numbers, whole or cut at any element.
struct CutCodebook {
  CpuEngine engine;
  Parameter parameter{{4, 2}};
  std::vector<ShardPiece> pieces;
  std::optional<AdamW> optimizer;

  explicit CutCodebook(int64_t cut) {
    parameter.name = "quantiser.codebook";
    std::vector<Optimized> ranges;
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, cut}, {cut, 8}}) {
      const Tensor value = Tensor::zeros({end - begin}, DType::f32, engine.stream());
      const Tensor grad = Tensor::from(std::vector<float>(static_cast<size_t>(end - begin), 1), {end - begin},
                                       engine.stream());
      pieces.push_back({&parameter, begin, value, grad, {}});
      ranges.push_back({value, grad, false});
    }
    optimizer.emplace(ranges, AdamWConfig{});
    optimizer->step(0, 1, 1);
  }
  template <class Of>
  std::vector<float> all(const Of& of) const {
    std::vector<float> values;
    for (size_t i = 0; i < pieces.size(); ++i)
      for (float value : of(i).template to_vector<float>()) values.push_back(value);
    return values;
  }
  std::vector<float> codes() const {
    return all([&](size_t i) { return pieces[i].value; });
  }
  std::vector<float> moments() const {
    return all([&](size_t i) { return optimizer->first(i); });
  }
};

TEST(ReviveCodes, OnlyDeadOnesTakeRowsThatWereFarFromTheirCode) {
  const EncodedRows encoded{2, {10, 11, 20, 21, 30, 31}, {0, 5, 0}};  // only row 1 has an error to draw by
  const std::vector<int64_t> counts{7, 0, 1, 0};
  for (int64_t cut : {1, 3, 4, 7}) {
    CutCodebook book(cut);
    const std::vector<float> before = book.codes(), moments = book.moments();
    EXPECT_EQ(revive_codes(counts, encoded, 3, 1, "quantiser.codebook", book.pieces, *book.optimizer), 2);
    const std::vector<float> kept{before[0], before[1], 20, 21, before[4], before[5], 20, 21};
    EXPECT_EQ(book.codes(), kept) << "cut at " << cut;
    EXPECT_EQ(book.moments(),
              (std::vector<float>{moments[0], moments[1], 0, 0, moments[4], moments[5], 0, 0}));
  }
}

TEST(ReviveCodes, DrawsByStepAndSeed) {
  EncodedRows encoded{2, {}, {}};
  for (int row = 0; row < 1000; ++row) {
    encoded.rows.insert(encoded.rows.end(), {static_cast<float>(row), 0});
    encoded.errors.push_back(1);
  }
  const std::vector<int64_t> counts(4, 0);
  const auto drawn = [&](int64_t step, uint64_t seed) {
    CutCodebook book(3);
    revive_codes(counts, encoded, step, seed, "quantiser.codebook", book.pieces, *book.optimizer);
    return book.codes();
  };
  EXPECT_EQ(drawn(3, 1), drawn(3, 1));
  EXPECT_NE(drawn(3, 1), drawn(4, 1));
  EXPECT_NE(drawn(3, 1), drawn(3, 2));
}

TEST(ReviveCodes, NothingToDrawFrom) {
  CutCodebook book(4);
  const std::vector<float> before = book.codes();
  const std::vector<int64_t> dead(4, 0), alive(4, 1);
  EXPECT_EQ(revive_codes(dead, {2, {1, 2}, {0}}, 0, 1, "quantiser.codebook", book.pieces, *book.optimizer),
            0);
  EXPECT_EQ(revive_codes(alive, {2, {1, 2}, {1}}, 0, 1, "quantiser.codebook", book.pieces, *book.optimizer),
            0);
  EXPECT_EQ(book.codes(), before);
}

TEST(Patches, RoundTrip) {
  CpuEngine engine;
  std::vector<Image> images(2, Image{6, 6, std::vector<uint8_t>(108)});
  for (size_t i = 0; i < 108; ++i) {
    images[0].rgb[i] = static_cast<uint8_t>(i);
    images[1].rgb[i] = static_cast<uint8_t>(255 - 2 * i);
  }
  const Tensor patches = patches_of(images, 3, engine.stream());
  EXPECT_EQ(patches.shape(), (Shape{8, 27}));
  EXPECT_EQ(patches.values<float>()[27], 9 / 127.5f - 1);  // second patch: right of the first
  EXPECT_EQ(images_of(patches, 6, 3), images);
  patches.values<float>()[0] = 9;
  patches.values<float>()[1] = -9;
  patches.values<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  const Image clamped = images_of(patches, 6, 3)[0];
  EXPECT_EQ(clamped.rgb[0], 255);
  EXPECT_EQ(clamped.rgb[1], 0);
  EXPECT_EQ(clamped.rgb[2], 0);
}

}  // namespace
}  // namespace tessera
