#pragma once
// The program as its users run it: a tiny dataset, a config for it, and what a refusal looks like.

#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <sstream>

#include "data/synthetic.h"
#include "runtime/json.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/command.h"

namespace tessera {

using Words = std::vector<std::string>;

inline Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// tessera ARGUMENTS...
inline Words tessera_words(const Words& arguments) { return Words{TESSERA_PROGRAM} + arguments; }

/// Lines of ours on stderr.  Progress is left out; where mpirun adds its own lines, only those with a mark of ours count.
inline Words said_lines(const std::string& err, bool under_mpi) {
  static const std::regex progress(
      "^((train|evaluate|generate|tokenize|k-means|learned)  [0-9]|read .*: [0-9]|image codebook: "
      "[0-9]|vocabulary: "
      "|(train|validation): "
      "[0-9]).*");
  static const std::regex ours("^(rank [0-9]+: |error: |warning: ).*");
  Words lines;
  std::istringstream in(err);
  for (std::string line; std::getline(in, line);) {
    line.erase(0, line.rfind('\r') == std::string::npos ? 0 : line.rfind('\r') + 1);
    if (!line.empty() && !std::regex_match(line, progress) && (!under_mpi || std::regex_match(line, ours)))
      lines.push_back(line);
  }
  return lines;
}

class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    write_synthetic_dataset(data_, 7);
    write_json(config_,
               {{"data", data_},
                {"out", out_},
                {"steps", 4},
                {"save_every", 100},
                {"threads", 1},
                {"model",
                 {{"vocab", 64},
                  {"width", 16},
                  {"layers", 1},
                  {"heads", 2},
                  {"hidden", 24},
                  {"feed_forward", {"2t1i"}}}},
                {"loader", {{"micro_batches", 3}, {"mixed_units", 1}, {"text_units", 1}}},
                {"schedule", {{"warmup", 2}, {"peak", 0.003}}},
                {"flight_recorder", {{"records", 64}}}});  // rings fit the disks of the tests of full ones
  }

  Words train_words(const Words& overrides = {}) const {
    return tessera_words({"train", config_}) + overrides;
  }
  void expect_success(const Words& words) const {
    const CommandResult result = run_command(words);
    EXPECT_EQ(result.code, 0) << result.err;
  }
  void train(const Words& overrides = {}) const { expect_success(train_words(overrides)); }

  /// The command ends with code and one sentence that holds all parts, and every file below the test's folder, hidden and
  /// temporary ones too, is what it was.
  void expect_refusal(const Words& words, int code, const Words& parts) const {
    const FileTree before = file_tree(folder_ / "");
    const CommandResult result = run_command(words);
    const std::string shown = testing::PrintToString(words) + "\n" + result.err;
    EXPECT_EQ(result.code, code) << shown;
    const Words said = said_lines(result.err, words[0] == "mpirun");
    ASSERT_EQ(said.size(), 1u) << shown;
    EXPECT_TRUE(said[0].starts_with("error: ")) << shown;
    for (const std::string& part : parts)
      EXPECT_NE(said[0].find(part), std::string::npos) << "no \"" << part << "\" in " << shown;
    expect_same_files(before, file_tree(folder_ / ""));
  }

  static void expect_same_files(const FileTree& before, const FileTree& after) {
    for (const auto& [path, bytes] : before) {
      const auto found = after.find(path);
      EXPECT_TRUE(found != after.end()) << path << " is gone";
      EXPECT_TRUE(found == after.end() || found->second == bytes) << path << " has changed";
    }
    for (const auto& [path, bytes] : after) EXPECT_TRUE(before.contains(path)) << path << " was left behind";
  }

  TemporaryFolder folder_;
  const std::string data_ = folder_ / "data", out_ = folder_ / "run", config_ = folder_ / "config.json";
};

}  // namespace tessera
