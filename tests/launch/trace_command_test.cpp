#include "launch/trace_command.h"

#include <gtest/gtest.h>

#include <numeric>
#include <sstream>

#include "launch/trace_summary.h"
#include "runtime/json.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

constexpr int64_t kMillisecond = 1'000'000;

/// Three steps of 10 ms on two ranks; the clock of rank 1 is 5 s behind at the start and drifts by 1 us a ms.
class TraceCommand : public testing::Test {
 protected:
  void SetUp() override {
    for (int rank = 0; rank < 2; ++rank) write_rank(rank, 2, 1000);
  }

  static int64_t own_clock(int rank, int64_t ms) {
    const int64_t at = ms * kMillisecond;
    return rank == 0 ? at : at - 5'000 * kMillisecond + ms * 1000;
  }
  void write_rank(int rank, int ranks, int64_t started_ns) const {
    Trace trace;
    trace.start();
    const auto record = [&](const char* name, int64_t begin, int64_t end, Track track = Track::compute,
                            int64_t number = -1) {
      trace.record(name, own_clock(rank, begin), own_clock(rank, end), track, number);
    };
    for (int64_t step = 0; step < 3; ++step) {
      const int64_t begin = 10'000 + 10 * step;
      record("gather_parameters", begin, begin + 1);
      record("matmul", begin + 1, begin + 6 - rank);
      record("wait_for_parameters", begin + 6 - rank, begin + 8);
      record("gather blocks.0", begin, begin + 8, Track::communication);
      record("step", begin, begin + 10, Track::compute, 5 + step);
    }
    const auto point = [&](int64_t ms) {
      const int64_t own = own_clock(rank, ms);
      return ClockPoint{own, ms * kMillisecond - own, rank == 0 ? 0 : 400};
    };
    trace.write(trace_path(folder_ / "", rank), {rank, ranks, started_ns, {point(9'000), point(11'000)}});
  }
  std::string run(TraceOptions options = {}) const {
    options.run = folder_ / "";
    std::ostringstream out;
    run_trace(options, out);
    return out.str();
  }
  std::string path_of(int rank) const { return trace_path(folder_ / "", rank); }

  TemporaryFolder folder_;
};

TEST_F(TraceCommand, SplitsTheStepOfEveryRank) {
  const Json json = Json::parse(run({.json = true}));
  EXPECT_EQ(json["overall"]["first_step"], 5);
  EXPECT_EQ(json["overall"]["last_step"], 7);
  ASSERT_EQ(json["ranks"].size(), 2u);
  for (int rank = 0; rank < 2; ++rank) {
    const Json& split = json["ranks"][static_cast<size_t>(rank)];
    EXPECT_EQ(split["total_ns"], 30 * kMillisecond) << rank;
    EXPECT_EQ(split["ns"]["compute"], 3 * (5 - rank) * kMillisecond) << rank;
    EXPECT_EQ(split["ns"]["gather"], 3 * (3 + rank) * kMillisecond) << rank;
    EXPECT_EQ(split["ns"]["idle"], 3 * 2 * kMillisecond) << rank;
    EXPECT_EQ(split["overlapped_ns"]["gather"], split["ns"]["compute"]) << rank;
  }
  EXPECT_EQ(json["ranks"][1]["clock_round_trip_ns"], 400);
  EXPECT_NEAR(json["ranks"][1]["clock_drift"].get<double>(), -1e-3, 2e-6);
  EXPECT_EQ(json["overall"]["total_ns"], 60 * kMillisecond);
  EXPECT_EQ(json["steps"].size(), 3u);

  const Json one = Json::parse(run({.first = 6, .last = 6, .json = true}));
  EXPECT_EQ(one["overall"]["total_ns"], 20 * kMillisecond);
  EXPECT_EQ(one["steps"].size(), 1u);
}

TEST_F(TraceCommand, PrintsTablesAndDrawsBars) {
  const std::string text = run({.page = folder_ / "page.html"});
  EXPECT_NE(text.find("steps 5 to 7 of 2 ranks"), std::string::npos) << text;
  EXPECT_NE(text.find("             compute  gather  idle    sum  ms a step\n"
                      "  all ranks     45.0    35.0  20.0  100.0      10.00\n"
                      "  rank 0        50.0    30.0  20.0  100.0      10.00\n"
                      "  rank 1        40.0    40.0  20.0  100.0      10.00\n"),
            std::string::npos)
      << text;
  const std::string page = bytes_of_file(folder_ / "page.html");
  EXPECT_NE(page.find("rank 1: gather 40.0 %"), std::string::npos);
  EXPECT_NE(page.find("</html>"), std::string::npos);
}

TEST_F(TraceCommand, MergesRanksOnOneClock) {
  run({.out = folder_ / "merged.json"});
  const Json events = read_json(folder_ / "merged.json")["traceEvents"];
  std::map<int, std::set<std::string>> threads;
  std::map<std::string, std::vector<double>> arrows;
  std::map<int, std::vector<double>> steps;
  for (const Json& event : events) {
    const int rank = event["pid"];
    if (event["name"] == "thread_name") threads[rank].insert(event["args"]["name"]);
    if (event["name"] == "step") steps[rank].push_back(event["ts"]);
    if (event["name"] == "gather blocks.0") {
      EXPECT_EQ(event["args"]["collective"], 0);
    }
    if (event["name"] == "collective") {
      EXPECT_EQ(event["ph"], rank == 0 ? "s" : "f");
      arrows[event["id"]].push_back(event["ts"]);
    }
  }
  const std::set<std::string> names{"steps", "training thread", "communication", "loader", "checkpoint"};
  EXPECT_EQ(threads, (std::map<int, std::set<std::string>>{{0, names}, {1, names}}));
  ASSERT_EQ(steps[0].size(), 3u);
  ASSERT_EQ(steps[1].size(), 3u);
  // To the rounding of a file in whole nanoseconds, whose points of the clock are exact.
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(steps[1][i], steps[0][i], 2e-3);
  EXPECT_EQ(arrows.size(), 3u);
  for (const auto& [id, times] : arrows) EXPECT_EQ(times.size(), 2u) << id;
}

TEST_F(TraceCommand, RefusesTracesThatDoNotBelongTogether) {
  write_rank(1, 2, 1001);
  EXPECT_EQ(message_of([&] { run(); }),
            path_of(1) + ": tessera.started_ns: expected 1000 as in the trace of rank 0, got 1001");
  write_rank(1, 3, 1000);
  EXPECT_EQ(message_of([&] { run(); }),
            path_of(1) + ": tessera.ranks: expected 2 as in the trace of rank 0, got 3");
  std::filesystem::copy_file(path_of(0), path_of(1), std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(message_of([&] { run(); }), path_of(1) + ": tessera.rank: expected 1 as in its name, got 0");
  std::filesystem::remove(path_of(1));
  EXPECT_EQ(message_of([&] { run(); }), path_of(1) + ": cannot be opened");
  std::filesystem::remove(path_of(0));
  EXPECT_EQ(message_of([&] { run(); }),
            path_of(0) + ": missing; tessera train with trace=true writes it at its end");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "trace.json"));
}

TEST_F(TraceCommand, RefusesDamagedTraces) {
  const std::string whole = bytes_of_file(path_of(0));
  const auto message = [&](const std::string& text) {
    write_file(path_of(0), text);
    return message_of([&] { run(); });
  };
  const auto edited = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return message(text.replace(at, from.size(), to));
  };
  for (size_t length = 0; length + 2 < whole.size(); length += 97) {
    const std::string said = message(whole.substr(0, length));
    EXPECT_TRUE(said.starts_with(path_of(0) + ": not valid JSON at byte")) << length << ": " << said;
  }
  const std::string event = path_of(0) + ": traceEvents[0]";
  EXPECT_EQ(edited("\"dur\":1000.000", "\"dur\":-1"), event + ": dur must be in [0, 9e+12], got -1");
  EXPECT_EQ(edited(",\"dur\":1000.000", ""), event + ": dur is missing");
  for (const auto& [from, to] :
       std::map<std::string, std::string>{{"\"tid\":0", "\"tid\":9"},
                                          {"\"ph\":\"X\"", "\"ph\":\"B\""},
                                          {"\"ts\":", "\"when\":"},
                                          {"\"dur\":1000.000", "\"dur\":\"1\""},
                                          {"\"name\":\"gather_parameters\"", "\"name\":3"}})
    EXPECT_TRUE(edited(from, to).starts_with(event)) << from;
  const std::string header = path_of(0) + ": tessera";
  EXPECT_EQ(edited("\"lost\":0,", ""), header + ": lost is missing");
  EXPECT_EQ(edited("\"rank\":0", "\"rank\":2"), header + ": rank must be below ranks, 2, got 2");
  EXPECT_TRUE(edited("\"lost\":0", "\"lost\":-1").starts_with(header + ": lost"));
  EXPECT_EQ(edited("\"tessera\"", "\"other\""),
            path_of(0) + ": tessera is missing: no trace of this program");
  EXPECT_EQ(message("[]"), path_of(0) + ": tessera is missing: no trace of this program");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "trace.json"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "trace.json.tmp"));
}

TEST_F(TraceCommand, SaysWhenThereIsNoStepInCommon) {
  EXPECT_NE(message_of([&] { run({.first = 8}); }).find("no whole step from 8"), std::string::npos);
}

TEST(TenthsOfPercent, SumToAHundred) {
  EXPECT_EQ(tenths_of_percent({1, 1, 1}), (std::vector<int64_t>{334, 333, 333}));
  EXPECT_EQ(tenths_of_percent({0, 0}), (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(tenths_of_percent({999, 1, 0}), (std::vector<int64_t>{999, 1, 0}));
  for (int64_t seed = 1; seed < 200; ++seed) {
    std::vector<int64_t> parts;
    for (int64_t i = 0; i < 11; ++i)
      parts.push_back((seed * 7919 + i * i * 104729) % 1'000'003 * 1'000'000'007);
    const std::vector<int64_t> tenths = tenths_of_percent(parts);
    EXPECT_EQ(std::accumulate(tenths.begin(), tenths.end(), int64_t{0}), 1000) << seed;
  }
}

}  // namespace
}  // namespace tessera
