#include "benchmarks/history.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/data/temporary_folder.h"

namespace tessera::benchmarks {
namespace {

/// Results of every program, with the ratios of a line of the history.
class Results {
 public:
  explicit Results(const HistoryLine& line) {
    for (const auto& [step, ratio] : line.step_over_floor)
      add("step_profile", {{"step", step}, {"ratio", ratio}});
    for (const auto& [step, ratio] : line.variant_over_dense)
      add_pair(step, "cpu_small_dense" + step.substr(step.find(' ')), ratio);
    for (const auto& [step, ratio] : line.f32_over_bf16)
      add_pair(step.substr(0, step.find(' ')) + " f32", step, ratio);
    for (const auto& [name, ratio] : line.scaling) {
      if (!name.ends_with(" ranks")) continue;
      const std::string of = name.substr(0, name.find(' '));
      add("scaling", {{"kind", "speed"},
                      {"case", of},
                      {"ranks", 2},
                      {"together", {{"median", ratio}}},
                      {"threads", {{"median", line.scaling.at(of + " 2 threads")}}}});
    }
    for (const auto& [name, ratio] : line.overhead) {
      const size_t space = name.find(' ');
      add("overhead",
          {{"step", name.substr(0, space)}, {"threads", std::stoi(name.substr(space))}, {"total", ratio}});
    }
  }

  std::string& operator[](const std::string& program) { return files_[program]; }

  HistoryLine record() const {
    const TemporaryFolder folder;
    for (const auto& [program, text] : files_) write_file(folder / (program + ".jsonl"), text);
    return measured_state(folder / ".", "0123abc");
  }

 private:
  void add(const std::string& program, const Json& line) { files_[program] += line.dump() + "\n"; }
  void add_pair(const std::string& step, const std::string& over, double ratio) {
    add("step_ratios", {{"step", step}, {"over", over}, {"time", {{"median", ratio}}}});
  }

  std::map<std::string, std::string> files_;
};

/// A line of the history as if of this machine.
HistoryLine line_of_here() {
  HistoryLine line = read_history(TESSERA_HISTORY).front();
  line.overhead.clear();
  for (const char* config : {"cpu_small_dense", "cpu_small_4t4i"})
    for (const unsigned threads : {1u, std::max(1u, std::thread::hardware_concurrency())})
      line.overhead[str(config, " ", threads, threads == 1 ? " thread" : " threads")] = 0.001 * threads;
  return line;
}

void replace(std::string& text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  ASSERT_NE(at, std::string::npos) << what;
  text.replace(at, what.size(), by);
}

TEST(History, EveryLineHasAllRatiosInTheirRanges) {
  const std::vector<HistoryLine> lines = read_history(TESSERA_HISTORY);
  ASSERT_FALSE(lines.empty());
  const std::string page = history_page(lines);
  for (const HistoryLine& line : lines) EXPECT_NE(page.find(line.commit), std::string::npos);
}

TEST(History, ALineHoldsTheRatiosOfTheResults) {
  const HistoryLine line = line_of_here();
  const HistoryLine again = Results(line).record();
  EXPECT_EQ(again.step_over_floor, line.step_over_floor);
  EXPECT_EQ(again.variant_over_dense, line.variant_over_dense);
  EXPECT_EQ(again.f32_over_bf16, line.f32_over_bf16);
  EXPECT_EQ(again.scaling, line.scaling);
  EXPECT_EQ(again.overhead, line.overhead);
}

TEST(History, MalformedAndIncompleteResultsAreRefused) {
  struct Damage {
    const char *program, *what, *by, *message;
  };
  for (const Damage& damage : std::vector<Damage>{
           {"step_profile", "\"ratio\"", "\"rate\"", "has no number /ratio"},
           {"step_profile", "cpu_small_4t4i bf16", "cpu_small_4t4i f16", "nothing about cpu_small_4t4i bf16"},
           {"step_ratios", "{\"median\":", "{\"median\":1e9,\"mean\":", "must be in [0.2, 20], got 1e+09"},
           {"step_ratios", "{\"step\"", "{\"step", "line 1 is no JSON object"},
           {"scaling", "\"ranks\":2", "\"ranks\":4", "nothing about speed 4t4i 2"},
           {"overhead", "\"total\":", "\"total\":\"much\",\"rest\":", "has no number /total"}}) {
    Results results(line_of_here());
    replace(results[damage.program], damage.what, damage.by);
    EXPECT_NE(message_of([&] { results.record(); }).find(damage.message), std::string::npos)
        << damage.program << ", " << damage.by << ": " << message_of([&] { results.record(); });
  }
}

TEST(History, DamagedLinesAreRefused) {
  const std::string good = bytes_of_file(TESSERA_HISTORY);
  const TemporaryFolder folder;
  const auto refusal = [&](const char* what, const char* by) {
    std::string text = good;
    replace(text, what, by);
    write_file(folder / "history.jsonl", text);
    return message_of([&] { read_history(folder / "history.jsonl"); });
  };
  EXPECT_NE(refusal("\"isa\"", "\"is\"").find("is"), std::string::npos);
  EXPECT_NE(
      refusal("\"cpu_small_4t4i bf16\"", "\"cpu_small_9t9i bf16\"").find("no ratio of cpu_small_4t4i bf16"),
      std::string::npos);
  EXPECT_NE(refusal("\"scaling\":{\"4t4i 2 ranks\":", "\"scaling\":{\"4t4i 2 ranks\":10").find("scaling"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera::benchmarks
