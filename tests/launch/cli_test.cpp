// Bad input, through the real program, alone and under mpirun: one sentence, the documented exit code, nothing changed and
// nothing left behind.

#include "tests/launch/cli.h"
#include "runtime/hdf5.h"

namespace tessera {
namespace {

TEST_F(CliTest, RefusesCommandLines) {
  const std::vector<std::pair<Words, std::string>> cases{
      {{}, "subcommand is required"},
      {{"trian", config_}, "unknown command \"trian\"; did you mean \"train\"?"},
      {{"train", config_, "--steps"}, "--steps"},
      {{"evaluate"}, "--run is required"},
      {{"evaluate", "--run", out_, "--units", "-3"}, "--units: Value -3 not in range 0"},
      {{"evaluate", "--run", out_, "--threads", "many"}, "--threads"},
      {{"inspect"}, "inspect: a path is needed"},
      {{"inspect", "step", "--out", folder_ / "step.h5"}, "--checkpoint is required"},
      {{"report"}, "runs is required"}};
  for (const auto& [arguments, sentence] : cases) expect_refusal(tessera_words(arguments), 2, {sentence});
  expect_refusal(under_mpirun(2, tessera_words({"train", "--steps"})), 2, {"--steps"});
}

TEST_F(CliTest, RefusesSettings) {
  const std::vector<std::pair<Words, Words>> cases{
      {{"model.widht=32"}, {"command line: unknown key \"model.widht\"; did you mean \"model.width\"?"}},
      {{"stesp=3"}, {"command line: unknown key \"stesp\"; did you mean \"steps\"?"}},
      {{"model.width=wide"}, {"command line: model.width must be a whole number, got \"wide\""}},
      {{"resume=1"}, {"resume must be true or false, got 1"}},
      {{"compute=f64"}, {"compute must be one of f32|bf16, got \"f64\""}},
      {{"model.width=0"}, {"model.width must be in [1, 1048576], got 0"}},
      {{"model.width=1048577"}, {"model.width must be in [1, 1048576], got 1048577"}},
      {{"clip=nan"}, {"clip must be a number, got \"nan\""}},
      {{"steps"}, {"expected key=value, got \"steps\""}},
      {{"=3"}, {"expected key=value, got \"=3\""}},
      {{"steps.more=3"}, {"steps.more", "steps is not an object"}},
      {{"isa=neon"}, {"isa must be one of auto|avx2|avx512|avx512_bf16|amx, got \"neon\""}},
      {{"model.heads=3"}, {"model.heads", "16 / 3"}},
      {{"model.feed_forward=[\"2t1x\"]"}, {"model.feed_forward", "2t1x"}},
      {{"loader.mixed_units=0", "loader.text_units=0"}, {"at least one unit, got 0 mixed and 0 text"}}};
  for (const auto& [overrides, parts] : cases) expect_refusal(train_words(overrides), 1, parts);
}

TEST_F(CliTest, RefusesConfigFiles) {
  const std::string bad = folder_ / "bad.json";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"{\"steps\": 3,\n \"seed\": 1,,\n}", ": not valid JSON at line 2, column 12"},
      {"{\"steps\": 3", ": not valid JSON at line 1, column 12"},
      {"", ": not valid JSON at line 1, column 1"},
      {"[3]", ": the top level must be an object, got [3]"},
      {"{\"model\": 3}", ": model must be an object, got 3"},
      {"{\"adamw\": {\"beta3\": 1}}", ": unknown key \"adamw.beta3\"; did you mean \"adamw.beta1\"?"},
      {"{\"steps\": -1}", ": steps must be in [1, 1e+12], got -1"}};
  for (const auto& [text, sentence] : cases) {
    write_file(bad, text);
    // A right override does not excuse the file.
    expect_refusal(tessera_words({"train", bad, "steps=3", "out=" + out_}), 1, {bad + sentence});
  }
  expect_refusal(tessera_words({"train", folder_ / "none.json"}), 1, {"none.json: cannot be opened"});
  expect_refusal(tessera_words({"train", data_}), 1, {data_ + ": cannot be opened"});
}

TEST_F(CliTest, RanksThatAgreeSayItOnce) {
  const auto refuses = [&](int ranks, const Words& overrides, const std::string& sentence) {
    expect_refusal(under_mpirun(ranks, train_words(overrides)), 1, {"error: " + sentence});
  };
  refuses(2, {"thread_ranks=2"}, "thread_ranks must be 1 under mpirun, got 2");
  refuses(4, {}, "loader.micro_batches: 4 ranks need at least as many, got 3");
  expect_refusal(train_words({"thread_ranks=4"}), 1, {"loader.micro_batches: 4 ranks need at least as many"});
}

TEST_F(CliTest, RanksThatDifferAreNamed) {
  const auto together = [&](const Words& overrides) {
    return under_mpirun(1, train_words()) + Words{":", "-n", "1"} + train_words(overrides);
  };
  expect_refusal(together({"schedule.peak=0.5"}), 1,
                 {"config must be the same on every rank", "schedule.peak rank 0 has 0.003, rank 1 has 0.5"});
  expect_refusal(together({"steps=many"}), 1, {"rank 1: command line: steps must be a whole number"});
}

TEST_F(CliTest, RefusesAnInstructionSetThatThisProcessorLacks) {
  if (run_command(tessera_words({"version"})).out.find("this processor: amx") != std::string::npos)
    GTEST_SKIP() << "this processor has every level";
  expect_refusal(train_words({"isa=amx"}), 1, {"isa: this processor supports up to ", "got amx"});
}

TEST_F(CliTest, RefusesDatasets) {
  const std::string shard = data_ + "/train-mixed-00000.h5", index = data_ + "/index.json";
  const std::string whole = bytes_of_file(shard), whole_index = bytes_of_file(index);
  const auto refuses = [&](const Words& parts) { expect_refusal(train_words(), 1, parts); };
  for (size_t length : {size_t{100}, whole.size() / 2, whole.size() - 1}) {
    write_file(shard, whole.substr(0, length));
    refuses({shard, "truncated"});
  }
  for (const char* text : {"", "not HDF5 at all"}) {
    write_file(shard, text);
    refuses({shard, "is not an HDF5 file"});
  }
  write_file(shard, bytes_of_file(data_ + "/train-text-00000.h5"));
  refuses({shard, "kind is text, index.json says mixed"});
  std::filesystem::remove(shard);
  refuses({shard, "No such file"});
  write_file(shard, whole);
  write_file(index, "{\"schema\": \"other\"}");
  refuses({index, "is not a tessera.dataset of version 2"});
  write_file(index, whole_index.substr(0, whole_index.size() / 2));
  refuses({index, "not valid JSON at line"});
  std::filesystem::remove(index);
  refuses({data_, "has no index.json"});
}

TEST_F(CliTest, AnErrorOfOneRankEndsAll) {
  const std::string shard = data_ + "/train-mixed-00000.h5";
  const std::vector<uint16_t> tokens = hdf5::File::open(shard).read<uint16_t>("/tokens");
  std::string bytes = bytes_of_file(shard);
  const size_t at = bytes.find(std::string_view(reinterpret_cast<const char*>(tokens.data()), 128));
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 2, "\xff\xff");  // in a unit that one rank meets once in the first 22 steps
  write_file(shard, bytes);
  const CommandResult result = run_command(under_mpirun(2, train_words({"steps=30"})));
  EXPECT_EQ(result.code, 1);
  const Words said = said_lines(result.err, true);
  ASSERT_EQ(said.size(), 1u) << result.err;
  const std::string sentence = ": error: dataset: " + shard + ": /tokens[0] is damaged";
  EXPECT_EQ(said[0].substr(0, 5), "rank ") << said[0];
  EXPECT_NE(said[0].find(sentence), std::string::npos) << said[0];
}

TEST_F(CliTest, RefusesHdf5OfAnotherSchema) {
  train();
  std::filesystem::copy(out_ + "/step_00000004/rank_00000.h5", data_ + "/train-mixed-00000.h5",
                        std::filesystem::copy_options::overwrite_existing);
  expect_refusal(train_words({"steps=8"}), 1, {data_ + "/train-mixed-00000.h5", "schema"});
}

TEST_F(CliTest, RefusesAnotherVocabulary) {
  const std::string larger = folder_ / "larger", other = folder_ / "other";
  write_synthetic_dataset(larger, 7, {.text_pieces = 30});
  write_synthetic_dataset(other, 7, {.image_codes = 30, .text_pieces = 28});  // 64 ids too
  expect_refusal(train_words({"data=" + larger}), 1, {"model.vocab: is 64", larger, "68 ids"});
  train();
  expect_refusal(train_words({"data=" + other, "steps=8"}), 1, {other, "30 image codes", "32 image codes"});
  const Words evaluate = tessera_words({"evaluate", "--run", out_, "--data", larger});
  expect_refusal(evaluate, 1, {larger, "68 ids", "the model has 64 ids"});
  expect_refusal(tessera_words({"inspect", "step", "--checkpoint", out_ + "/step_00000004", "--data", larger,
                                "--out", folder_ / "step.h5"}),
                 1, {larger, "68 ids"});
}

TEST_F(CliTest, RefusesCheckpoints) {
  train();
  const std::string checkpoint = out_ + "/step_00000004", manifest = checkpoint + "/manifest.json",
                    file = checkpoint + "/rank_00000.h5";
  const Words more = train_words({"steps=8"}), evaluate = tessera_words({"evaluate", "--run", out_});
  expect_refusal(train_words({"steps=8", "resume=false"}), 1, {"resume is false but " + checkpoint});
  const Words wider = train_words({"steps=8", "model.width=32"});
  expect_refusal(wider, 1, {checkpoint, "k_norm.bias is [8] there, [16] in this model"});

  const std::string whole = bytes_of_file(file);
  const auto refuse_both = [&](const Words& parts) {
    expect_refusal(more, 1, parts);
    expect_refusal(evaluate, 1, parts);
  };
  write_file(file, whole.substr(0, whole.size() / 2));
  refuse_both({file, "bytes, got"});
  std::string flipped = whole;
  flipped[whole.size() / 2] ^= 1;
  write_file(file, flipped);
  refuse_both({file, "is damaged: its XXH3 checksum"});
  std::filesystem::remove(file);
  refuse_both({file, "is missing"});
  write_file(file, whole);

  const Json good = read_json(manifest);
  const std::vector<std::pair<std::function<void(Json&)>, std::string>> damages{
      {[](Json& json) { json.erase("state"); }, ": state is missing"},
      {[](Json& json) { json["step"] = "four"; }, ": step must be a whole number, got \"four\""},
      {[](Json& json) { json["version"] = 7; }, ": format version must be 1, got 7"},
      {[](Json& json) { json["state"]["data"]["codes"] = 1; }, ": state: unknown key \"data.codes\""},
      {[](Json& json) { json["state"]["config"]["seed"] = "x"; },
       ": state: config.seed must be a whole number"}};
  for (const auto& [damage, sentence] : damages) {
    Json json = good;
    damage(json);
    write_json(manifest, json);
    refuse_both({manifest + sentence});
  }
  write_file(manifest, good.dump().substr(0, 200));
  refuse_both({manifest + ": not valid JSON at line 1"});
}

TEST_F(CliTest, RefusesRunsThatAreNone) {
  const std::string none = folder_ / "none";
  expect_refusal(tessera_words({"evaluate", "--run", none}), 1, {none + ": holds no checkpoint"});
  expect_refusal(tessera_words({"report", none, "--out", folder_ / "report.html"}), 1,
                 {"no run folder " + none});
  expect_refusal(tessera_words({"inspect", none}), 1, {"there is no " + none});
  expect_refusal(tessera_words({"inspect", config_}), 1, {config_ + " is not an HDF5 file"});
  std::filesystem::create_directory(folder_ / "empty");
  expect_refusal(tessera_words({"inspect", folder_ / "empty"}), 1, {"empty is not a dataset"});
  expect_refusal(tessera_words({"inspect", "step", "--checkpoint", data_, "--out", folder_ / "step.h5"}), 1,
                 {data_, "there is no manifest.json"});
}

TEST_F(CliTest, ADivergedRunKeepsItsCheckpoint) {
  train({"steps=100000", "stop_at=2"});
  const Words words = train_words({"steps=100000", "schedule.peak=1e20", "schedule.warmup=0", "clip=1e12"});
  const FileTree before = file_tree(out_ + "/step_00000002");
  const CommandResult result = run_command(under_mpirun(2, words));
  EXPECT_EQ(result.code, 87);
  Words errors = said_lines(result.err, true);
  std::erase_if(errors, [](const auto& line) { return line.find("error: ") == std::string::npos; });
  ASSERT_EQ(errors.size(), 1u) << result.err;
  EXPECT_TRUE(errors[0].starts_with("rank 0: error: step ")) << errors[0];
  EXPECT_NE(errors[0].find(": the gradient norm is nan; stopped before its update, "), std::string::npos)
      << errors[0];
  expect_same_files(before, file_tree(out_ + "/step_00000002"));
}

class CliFull : public CliTest {};  // mpirun takes a second longer to end when a program fails

TEST_F(CliFull, RanksThatAgreeSayItOnce) {
  const auto refuses = [&](const Words& words, int code, const std::string& sentence) {
    expect_refusal(under_mpirun(2, words), code, {"error: " + sentence});
  };
  refuses(tessera_words({"trian"}), 2, "unknown command \"trian\"");
  refuses(train_words({"model.widht=32"}), 1, "command line: unknown key \"model.widht\"");
  refuses(train_words({"data=" + folder_ / "none"}), 1, "dataset: " + folder_ / "none");
  for (const Words& arguments : {Words{"inspect", data_}, {"report", out_}, {"prepare"}})
    refuses(tessera_words(arguments), 1, arguments[0] + " runs as one process: start it without mpirun");
  if (run_command(tessera_words({"version"})).out.find("this processor: amx") == std::string::npos)
    refuses(train_words({"isa=amx"}), 1, "isa: this processor supports up to ");

  train();
  const std::string checkpoint = out_ + "/step_00000004", manifest = checkpoint + "/manifest.json",
                    file = checkpoint + "/rank_00000.h5", shard = data_ + "/train-mixed-00000.h5",
                    larger = folder_ / "larger";
  const Words evaluate = tessera_words({"evaluate", "--run", out_});
  write_synthetic_dataset(larger, 7, {.text_pieces = 30});
  refuses(train_words({"steps=8", "resume=false"}), 1, "resume is false but " + checkpoint);
  refuses(train_words({"steps=8", "model.width=32"}), 1, "checkpoint " + checkpoint);
  refuses(evaluate + Words{"--data", larger}, 1, "dataset " + larger + " has 68 ids");
  write_file(file, bytes_of_file(file).substr(0, 2000));
  refuses(train_words({"steps=8"}), 1,
          "rank 0: checkpoint " + checkpoint + ": " + file);  // which checks that file
  write_file(manifest, bytes_of_file(manifest).substr(0, 200));
  refuses(evaluate, 1, manifest + ": not valid JSON");
  refuses(train_words({"steps=8"}), 1, manifest + ": not valid JSON");
  write_file(shard, bytes_of_file(shard).substr(0, 2000));
  refuses(train_words(), 1, "hdf5: " + shard);
}

}  // namespace
}  // namespace tessera
