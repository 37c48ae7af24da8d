#include "tests/launch/cli.h"

namespace tessera {
namespace {

class CliDryRunTest : public CliTest {};

TEST_F(CliDryRunTest, TellsWhatEveryRankTakesAndWritesNothing) {
  const FileTree before = file_tree(folder_ / "");
  const CommandResult one = run_command(train_words({"--dry-run", "--memory", "4GiB"}));
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_NE(one.out.find("fits"), std::string::npos) << one.out;
  const CommandResult three =
      run_command(train_words({"--dry-run", "--ranks", "3", "--memory", "4GiB", "--json"}));
  ASSERT_EQ(three.code, 0) << three.err;
  const Json json = Json::parse(three.out);
  EXPECT_EQ(json["fits"], true);
  ASSERT_EQ(json["ranks"].size(), 3u);
  for (const Json& rank : json["ranks"]) {
    EXPECT_EQ(rank["room"], (int64_t{4} << 30) / 3);
    EXPECT_EQ(rank["peak"], rank["parameters"].get<int64_t>() + rank["gradients"].get<int64_t>() +
                                rank["moments"].get<int64_t>() + rank["communication"].get<int64_t>() +
                                rank["activations"].get<int64_t>() + rank["scratch"].get<int64_t>());
  }
  const CommandResult shared = run_command(
      train_words({"--dry-run", "--ranks", "2", "--ranks-per-node", "1", "--memory", "4GiB", "--json"}));
  EXPECT_EQ(Json::parse(shared.out)["ranks"][1]["room"], int64_t{4} << 30);
  expect_same_files(before, file_tree(folder_ / ""));
}

TEST_F(CliDryRunTest, RanksOfMpirunPlanForThemselves) {
  const CommandResult together =
      run_command(under_mpirun(2, train_words({"--dry-run", "--memory", "4GiB", "--json"})));
  ASSERT_EQ(together.code, 0) << together.err;
  const CommandResult alone =
      run_command(train_words({"--dry-run", "--ranks", "2", "--memory", "4GiB", "--json"}));
  const Json of_mpi = Json::parse(together.out), of_one = Json::parse(alone.out);
  for (size_t rank = 0; rank < 2; ++rank)
    for (const char* part :
         {"parameters", "gradients", "moments", "communication", "activations", "peak", "gaps"})
      EXPECT_EQ(of_mpi["ranks"][rank][part], of_one["ranks"][rank][part]) << part;
}

TEST_F(CliDryRunTest, RefusesWhatCannotFit) {
  const Words dry = train_words({"--dry-run"});
  expect_refusal(dry + Words{"--memory", "1KiB"}, 1,
                 {"rank 0 of 1 needs", "has room for 1 KiB", "nothing that was tried"});
  expect_refusal(dry + Words{"--memory", "1 elephant"}, 1, {"--memory", "1 elephant"});
  expect_refusal(dry + Words{"--ranks", "4"}, 1, {"loader.micro_batches", "4 ranks"});
  expect_refusal(train_words({"--ranks", "4"}), 2, {"--ranks", "--dry-run"});
}

}  // namespace
}  // namespace tessera
