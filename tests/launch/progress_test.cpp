#include "launch/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "launch/format.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

TEST(Format, NumbersForPeople) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(7), "7");
  EXPECT_EQ(format_count(0.12345), "0.123");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(999.7), "1 k");
  EXPECT_EQ(format_count(12345), "12.3 k");
  EXPECT_EQ(format_count(4.0e9), "4 G");
  EXPECT_EQ(format_count(-1500), "-1.5 k");
  EXPECT_EQ(format_count(std::numeric_limits<double>::quiet_NaN()), "nan");
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(24.0 * (1LL << 30)), "24 GiB");
  EXPECT_EQ(format_duration(0.42), "0.4 s");
  EXPECT_EQ(format_duration(59.6), "1 min 0 s");
  EXPECT_EQ(format_duration(185), "3 min 5 s");
  EXPECT_EQ(format_duration(7830), "2 h 10 min");
  EXPECT_EQ(format_percent(0.1234), "12.3 %");
  EXPECT_EQ(format_grouped(1234567), "1\u00a0234\u00a0567");
  EXPECT_EQ(format_grouped(-123), "-123");
  EXPECT_EQ(format_grouped(-123456), "-123\u00a0456");
}

TEST(Progress, LineSaysHowFarAndHowLong) {
  EXPECT_EQ(progress_line("train", 120, 300, "loss 3.21", 125),
            "train  120/300  40 %  loss 3.21  2 min 5 s left");
  EXPECT_EQ(progress_line("prepare", 0, 7, "", -1), "prepare  0/7  0 %");
  EXPECT_EQ(progress_line("train", 300, 300, "", 0), "train  300/300  100 %");
}

/// What is written to a temporary file while body runs.
template <class Body>
std::string written(const Body& body) {
  const TemporaryFolder folder;
  std::FILE* file = std::fopen((folder / "out").c_str(), "w");
  body(file);
  std::fclose(file);
  return bytes_of_file(folder / "out");
}

TEST(Progress, PlainLinesComeFirstLastAndWhenTimeHasPassed) {
  const std::string rare = written([](std::FILE* file) {
    Progress progress("work", 50, 0, {.file = file, .seconds = 1e9});
    for (int64_t done = 0; done <= 50; ++done) progress.update(done, "");
    progress.update(50, "");
  });
  EXPECT_EQ(rare, "work  0/50  0 %\nwork  50/50  100 %\n");
  const std::string every = written([](std::FILE* file) {
    Progress progress("work", 3, 0, {.file = file, .seconds = 0});
    for (int64_t done = 0; done <= 3; ++done) progress.update(done, "");
  });
  EXPECT_EQ(std::count(every.begin(), every.end(), '\n'), 4);
}

TEST(Progress, TerminalRedrawsOneLineThatFits) {
  const std::string text = written([](std::FILE* file) {
    Progress progress("work", 2, 0, {.file = file, .terminal = true, .columns = 20});
    progress.update(0, "a text that is much too long");
    progress.clear();
    progress.update(2, "done");
  });
  EXPECT_EQ(text, "\r\x1b[Kwork  0/2  0 %  a t\r\x1b[K\r\x1b[Kwork  2/2  100 %  d\n");
}

TEST(Progress, AnOpenLineIsEnded) {
  const std::string text = written([](std::FILE* file) {
    Progress progress("work", 2, 0, {.file = file, .terminal = true});
    progress.update(1, "");
  });
  EXPECT_EQ(text.back(), '\n');
}

TEST(Progress, ResumedWorkCountsOnlyWhatIsFresh) {
  const std::string text = written([](std::FILE* file) {
    Progress progress("work", 100, 60, {.file = file, .seconds = 0});
    progress.update(60, "");
  });
  EXPECT_EQ(text, "work  60/100  60 %\n");  // nothing done yet here, so no time left
  EXPECT_EQ(message_of([] { Progress("work", 0); }),
            "progress: work: expected 0 <= first <= total, total > 0, got 0 of 0");
}

}  // namespace
}  // namespace tessera
