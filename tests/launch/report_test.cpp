#include "launch/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "launch/metrics.h"
#include "launch/report_chart.h"
#include "launch/report_data.h"
#include "launch/report_html.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kEvaluation =
    R"({"checkpoint": "run/step_3", "step": 3, "routing": "batch", "parameters": 1234567,
  "text": {"tokens": 1200, "nats": 4.25, "unigram": 6.5, "bigram": 5.125},
  "image": {"tokens": 800, "nats": 3.5, "unigram": 5.0, "bigram": 4.0},
  "image_plain": {"tokens": 0, "nats": null, "unigram": 0, "bigram": 0},
  "causal": {"thresholds": {"text": {"nats": 4.5}, "image": {"nats": 3.75}, "image_plain": {"nats": null}},
             "auxiliary_routers": {"text": {"nats": 4.625}}}})";

std::string make_run(const TemporaryFolder& folder, const std::string& name, int64_t steps) {
  const std::string path = folder / name;
  std::filesystem::create_directories(path);
  Metrics metrics(path, 0);
  for (int64_t step = 0; step < steps; ++step)
    metrics.write({.step = step,
                   .loss = 5,
                   .loss_text = 6 - 0.1 * static_cast<double>(step),
                   .loss_image = 4,
                   .tokens = 100,
                   .seconds = 0.5,
                   .flops = 3000000,
                   .expert_load = {{"0/text/0", 0.25}},
                   .unrouted = {{"0/text", 0.125}},
                   .passes = {}});
  return path;
}

size_t occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::string report(const TemporaryFolder& folder, const std::vector<std::string>& runs,
                   const std::string& data = "") {
  write_report(runs, data, folder / "report.html");
  return bytes_of_file(folder / "report.html");
}

TEST(Report, EscapesText) {
  EXPECT_EQ(escape_html("<a href=\"x\">'&'</a>\n"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;\n");
  EXPECT_EQ(escape_html("é 漢 😀"), "é 漢 😀");
  EXPECT_EQ(escape_html(std::string("a\0b", 3)), "a\ufffdb");
  EXPECT_EQ(escape_html("\xff\xc3"), "\ufffd\ufffd");
  EXPECT_EQ(escape_html("\xc0\xbc"), "\ufffd\ufffd");  // "<" in an overlong form
  EXPECT_EQ(escape_html("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
}

TEST(Report, Base64OfEveryTail) {
  EXPECT_EQ(png_url(""), "data:image/png;base64,");
  EXPECT_EQ(png_url("f"), "data:image/png;base64,Zg==");
  EXPECT_EQ(png_url("fo"), "data:image/png;base64,Zm8=");
  EXPECT_EQ(png_url("foobar"), "data:image/png;base64,Zm9vYmFy");
  EXPECT_EQ(png_url("\xff\xfe\xfd"), "data:image/png;base64,//79");
}

TEST(Report, TicksAreRound) {
  EXPECT_EQ(round_ticks(0, 300, 5), (std::vector<double>{0, 100, 200, 300}));
  EXPECT_EQ(round_ticks(0, 1000, 5), (std::vector<double>{0, 200, 400, 600, 800, 1000}));
  EXPECT_EQ(round_ticks(-4, 6, 5), (std::vector<double>{-4, -2, 0, 2, 4, 6}));
}

TEST(Report, MovingMeanKeepsLinesAndGaps) {
  std::vector<double> line;
  for (int i = 0; i < 200; ++i) line.push_back(i);
  const std::vector<double> means = moving_mean(line);
  for (size_t i = 0; i < 198; ++i) EXPECT_EQ(means[i], line[i]);
  EXPECT_EQ(means[199], 198);  // of 197, 198, 199
  const std::vector<double> gap = moving_mean({1, kNaN, 3});
  EXPECT_EQ(gap[0], 1);
  EXPECT_TRUE(std::isnan(gap[1]));
  EXPECT_EQ(gap[2], 3);
}

TEST(Report, ChartBreaksItsLineAtAGap) {
  const Chart chart{
      .id = "c", .title = "C", .axis = "nats", .series = {{"a", 0, {0, 1, 2, 3}, {1, 2, kNaN, 4}}}};
  const std::string figure = chart_figure(chart);
  EXPECT_EQ(occurrences(figure, "<polyline"), 2u);
  EXPECT_NE(figure.find("a: from 1 to 4 over 4 points"), std::string::npos);
  EXPECT_NE(figure.find("data-log=\"0\""), std::string::npos);
}

TEST(Report, ChartOfManyDecadesIsLogarithmic) {
  const Chart chart{.id = "c", .title = "C", .axis = "norm", .series = {{"a", 0, {0, 1}, {0.01, 100}}}};
  EXPECT_NE(chart_figure(chart).find("data-log=\"1\""), std::string::npos);
}

TEST(Report, ChartOfNothingSaysSo) {
  const Chart chart{.id = "c", .title = "C", .axis = "nats", .series = {{"a", 0, {0}, {kNaN}}}};
  EXPECT_NE(chart_figure(chart).find("No value is recorded yet."), std::string::npos);
  EXPECT_EQ(chart_figure(chart).find("<svg"), std::string::npos);
}

TEST(Report, LongSeriesKeepTheirExtremes) {
  ChartSeries series{"a", 0, {}, {}};
  for (int i = 0; i < 100000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i == 54321 ? 9 : i % 100 == 0 ? kNaN : 1);
  }
  const Chart chart{.id = "c", .title = "C", .axis = "nats", .from_zero = true, .series = {series}};
  const std::string figure = chart_figure(chart);
  EXPECT_EQ(occurrences(figure, ","), 2000u);
  EXPECT_NE(figure.find("22."), std::string::npos);  // the spike, a little below the top
}

TEST(Report, SaysWhatIsMissing) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "empty");
  const std::string page = report(folder, {folder / "empty"});
  EXPECT_NE(page.find("is not evaluated yet"), std::string::npos);
  EXPECT_NE(page.find("No value is recorded yet."), std::string::npos);
  EXPECT_NE(page.find("No routing is recorded for empty"), std::string::npos);
  EXPECT_NE(page.find("There are no sample pictures"), std::string::npos);
  EXPECT_NE(page.find("has no config.json"), std::string::npos);
}

TEST(Report, ShowsEvaluationBesideBaselines) {
  const TemporaryFolder folder;
  const std::string one = make_run(folder, "one", 3), two = make_run(folder, "two", 2);
  write_file(one + "/evaluation.json", kEvaluation);
  write_file(two + "/evaluation.json", kEvaluation);
  write_file(one + "/config.json", R"({"model": {"width": 64, "layers": 2}})");
  write_file(two + "/config.json", R"({"model": {"width": 128, "layers": 2}})");
  const std::string page = report(folder, {one, two});
  EXPECT_NE(page.find("<span class=\"value\">4.250</span><small class=\"better\">2.250 below unigram"),
            std::string::npos);
  EXPECT_EQ(occurrences(page, "Smoothed unigram"), 1u);  // both runs have the same
  EXPECT_NE(page.find("<td>5.125</td><td>4.000</td><td>–</td>"), std::string::npos);
  EXPECT_NE(page.find("<td>1.23 M</td><td>30 k</td><td>200</td>"), std::string::npos);
  EXPECT_NE(page.find("leak the future"), std::string::npos);
  EXPECT_NE(page.find("thresholds of training, which see no later token: text 4.500, image 3.750 nats."),
            std::string::npos);
  EXPECT_NE(page.find("auxiliary routers, which see no later token: text 4.625 nats."), std::string::npos);
  EXPECT_NE(page.find("<th scope=\"row\">model.width</th><td>64</td><td>128</td>"), std::string::npos);
  EXPECT_EQ(page.find("<th scope=\"row\">model.layers</th>"), std::string::npos);
  EXPECT_NE(page.find("--strength:0.250\">25.0 %</td>"), std::string::npos);
  EXPECT_NE(page.find("--strength:0.125\">12.5 %</td>"), std::string::npos);
}

TEST(Report, SamplesAreInside) {
  const TemporaryFolder folder;
  const std::string run = make_run(folder, "run", 1), png = "\x89PNG\r\n\x1a\n rest";
  std::filesystem::create_directories(folder / "data/samples");
  write_file(folder / "data/samples/cat_original.png", png);
  write_file(folder / "data/samples/cat_reconstruction.png", png);
  write_file(folder / "data/samples/alone_original.png", png);
  const std::string page = report(folder, {run}, folder / "data");
  EXPECT_EQ(occurrences(page, png_url(png)), 2u);
  EXPECT_EQ(page.find("alone"), std::string::npos);
  write_file(folder / "data/samples/cat_original.png", "GIF89a");
  EXPECT_NE(
      message_of([&] { report(folder, {run}, folder / "data"); }).find("cat_original.png: is not a PNG file"),
      std::string::npos);
}

TEST(Report, DamagedFilesAreErrorsAndLeaveTheOldPage) {
  const TemporaryFolder folder;
  const std::string run = make_run(folder, "run", 1), before = report(folder, {run});
  write_file(run + "/evaluation.json", R"({"checkpoint": "c", "routing": "none", "text": {"nats": "low"}})");
  EXPECT_EQ(message_of([&] { report(folder, {run}); }),
            run + "/evaluation.json: text: nats must be a number, got \"low\"");
  write_file(run + "/evaluation.json", "{");
  EXPECT_NE(message_of([&] { report(folder, {run}); }).find("not valid JSON at line 1"), std::string::npos);
  EXPECT_EQ(bytes_of_file(folder / "report.html"), before);
  EXPECT_EQ(message_of([&] { report(folder, {folder / "none"}); }),
            "report: no run folder " + folder / "none");
  EXPECT_EQ(message_of([&] { report(folder, {}); }), "report: expected at least one run folder");
}

}  // namespace
}  // namespace tessera
