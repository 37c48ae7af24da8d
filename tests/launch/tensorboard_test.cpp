#include "launch/tensorboard.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>

#include "runtime/json.h"
#include "tests/launch/event_reader.h"

namespace tessera {
namespace {

TEST(TensorBoard, Crc32cOfTheStandardsVectors) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // the check value of the polynomial
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string increasing;
  for (int i = 0; i < 32; ++i) increasing += static_cast<char>(i);
  EXPECT_EQ(crc32c(increasing), 0x46dd794eu);
}

TEST(TensorBoard, FramesReadBackAndDamageIsNoticed) {
  const std::string bytes = tfrecord("one") + tfrecord("") + tfrecord(std::string(1000, 'x'));
  const std::vector<std::string> records = read_records(bytes);
  EXPECT_EQ(records, (std::vector<std::string>{"one", "", std::string(1000, 'x')}));
  for (size_t at : {size_t{0}, size_t{9}, size_t{13}, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_THROW(read_records(damaged), Error) << "byte " << at;
  }
}

TEST(TensorBoard, ResumedRunsFileComesLaterAndStartsAtItsStep) {
  const TemporaryFolder folder;
  const TensorBoard first(folder / "", 0);
  const TensorBoard second(folder / "", 15);
  ASSERT_EQ(event_files(folder / ""), (std::vector<std::string>{first.path(), second.path()}));
  const std::vector<EventRecord> events = read_events(second.path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].file_version, "brain.Event:2");
  EXPECT_TRUE(events[1].starts);
  EXPECT_EQ(events[1].step, 15);
}

/// What tests/launch/read_events.py prints about a file; its exit status goes to status.
std::vector<Json> read_by_python(const std::string& path, int& status) {
  const std::string script =
      std::string(__FILE__).substr(0, std::string(__FILE__).rfind('/')) + "/read_events.py";
  std::FILE* pipe = popen(("python3 '" + script + "' '" + path + "'").c_str(), "r");
  std::string text;
  std::array<char, 4096> block;
  for (size_t got; (got = std::fread(block.data(), 1, block.size(), pipe)) > 0;)
    text.append(block.data(), got);
  status = WEXITSTATUS(pclose(pipe));
  std::vector<Json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

TEST(TensorBoard, AReaderThatKnowsOnlyTheFormatReadsTheSame) {
  if (std::system("python3 -c '' 2>/dev/null") != 0) GTEST_SKIP() << "python3 is not installed";
  const TemporaryFolder folder;
  TensorBoard board(folder / "", 2);
  const std::vector<std::pair<std::string, double>> scalars{
      {"loss", 2.5}, {"expert_load/0/text/1", 0.1}, {"zero", 0}};
  board.scalars(2, scalars);
  board.scalars(1LL << 40, scalars);
  int status = 0;
  const std::vector<Json> events = read_by_python(board.path(), status);
  ASSERT_EQ(status, 0);
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0]["file_version"], "brain.Event:2");
  EXPECT_EQ(events[1]["session_status"], 1);
  EXPECT_EQ(events[1]["step"], 2);
  EXPECT_EQ(events[3]["step"], 1LL << 40);
  EXPECT_GT(events[3]["wall_time"].get<double>(), 1.7e9);
  for (const auto& [tag, value] : scalars)
    EXPECT_EQ(events[3]["scalars"][tag].get<double>(), static_cast<double>(static_cast<float>(value))) << tag;

  std::string damaged = bytes_of_file(board.path());
  damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 1);
  write_file(folder / "damaged", damaged);
  read_by_python(folder / "damaged", status);
  EXPECT_NE(status, 0);
}

}  // namespace
}  // namespace tessera
