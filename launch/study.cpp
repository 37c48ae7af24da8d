#include "launch/study.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <sstream>

#include "launch/format.h"
#include "launch/report_chart.h"
#include "launch/report_html.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

/// What is compared: a column of metrics.jsonl, and the parts of evaluation.json that it has.
struct Measure {
  const char *column, *part, *title;
};
constexpr Measure kMeasures[] = {{"loss_text", "text", "Text"}, {"loss_image", "image", "Image"}};

/// Floating-point operations up to and with each step.
std::vector<double> operations(const ReportRun& run) {
  std::vector<double> sums;
  double sum = 0;
  for (double flops : run.columns.at("flops")) sums.push_back(sum += flops);
  return sums;
}

/// Without the noise of single steps: narrower windows let the baseline pass its own last loss long before its end.
std::vector<double> smooth(const ReportRun& run, const std::string& column) {
  constexpr int64_t kWindows = 4;
  return moving_mean(run.columns.at(column), kWindows);
}

/// Operations at which smoothed losses first are at a level, between steps by proportion; none when they never are.
std::optional<double> reached(const std::vector<double>& flops, const std::vector<double>& losses,
                              double level) {
  for (size_t i = 0; i < losses.size(); ++i) {
    if (!(losses[i] <= level)) continue;
    if (i == 0 || !(losses[i - 1] > losses[i])) return flops[i];
    const double share = (losses[i - 1] - level) / (losses[i - 1] - losses[i]);
    return flops[i - 1] + share * (flops[i] - flops[i - 1]);
  }
  return {};
}

/// Over seeds.
struct Spread {
  double mean = 0, least = 0, most = 0;
};
std::optional<Spread> spread_of(const std::vector<std::optional<double>>& values) {
  Spread spread{0, std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const std::optional<double>& value : values) {
    if (!value) return {};
    spread.mean += *value / static_cast<double>(values.size());
    spread.least = std::min(spread.least, *value);
    spread.most = std::max(spread.most, *value);
  }
  return spread;
}

using NumberOf = std::function<std::optional<double>(const ReportRun& run, size_t seed)>;
std::optional<Spread> over_seeds(const StudyVariant& variant, const NumberOf& number) {
  std::vector<std::optional<double>> values;
  for (size_t seed = 0; seed < variant.runs.size(); ++seed)
    values.push_back(number(variant.runs[seed], seed));
  return spread_of(values);
}

/// One row of the table and one object of the JSON file: numbers by title, in order.
struct Row {
  std::string variant;
  std::vector<std::pair<std::string, std::optional<Spread>>> numbers;
};

Row row_of(const StudyVariant& variant, const StudyVariant& baseline) {
  Row row{variant.name, {}};
  const auto add = [&](const std::string& title, const NumberOf& number) {
    row.numbers.emplace_back(title, over_seeds(variant, number));
  };
  add("FLOPs", [](const ReportRun& run, size_t) { return operations(run).back(); });
  for (const Measure& measure : kMeasures) {
    const std::string title = measure.title;
    const auto held_out = [&measure](const ReportRun& run) { return run.evaluation->parts.at(measure.part); };
    add(title + " training",
        [&](const ReportRun& run, size_t) { return smooth(run, measure.column).back(); });
    add(title + " held out", [&](const ReportRun& run, size_t) { return held_out(run).nats; });
    for (const char* way : {"thresholds", "auxiliary_routers"})
      add(title + " causal, " + way, [&](const ReportRun& run, size_t) -> std::optional<double> {
        const HeldOut part = held_out(run);
        if (part.causal.contains(way)) return part.causal.at(way);
        return run.evaluation->routing == "none" ? part.nats : std::nullopt;  // causal as it is
      });
    add(title + " saving factor", [&](const ReportRun& run, size_t seed) {
      return saving_factor(baseline.runs[seed], run, measure.column);
    });
  }
  return row;
}

std::string shown(const std::string& title, const std::optional<Spread>& spread) {
  if (!spread) return "-";
  if (title == "FLOPs") return format_count(spread->mean);
  return format_fixed(spread->mean, 3) + " (" + format_fixed(spread->least, 3) + " to " +
         format_fixed(spread->most, 3) + ")";
}

/// Mean over seeds of the moving means; operations of the first seed.
ChartSeries curve_of(const StudyVariant& variant, size_t color, const char* column) {
  ChartSeries series{variant.name, color, operations(variant.runs[0]), {}};
  series.y.assign(series.x.size(), 0);
  for (const ReportRun& run : variant.runs) {
    const std::vector<double> means = moving_mean(run.columns.at(column));
    for (size_t i = 0; i < series.y.size() && i < means.size(); ++i)
      series.y[i] += means[i] / static_cast<double>(variant.runs.size());
  }
  return series;
}

std::string page_of(const std::vector<StudyVariant>& variants, const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const StudyVariant& variant : variants) names.push_back(variant.name);
  std::string charts = "<div class=\"charts\">";
  for (const Measure& measure : kMeasures) {
    Chart chart{.id = measure.column,
                .title = std::string(measure.title) + " loss",
                .axis = "nats per token, training",
                .x_axis = "FLOPs"};
    for (size_t i = 0; i < variants.size(); ++i)
      chart.series.push_back(curve_of(variants[i], i, measure.column));
    charts += chart_figure(chart);
  }
  std::string table = "<div class=\"card\"><table><thead><tr><th scope=\"col\">Number</th>";
  for (const Row& row : rows) table += "<th scope=\"col\">" + escape_html(row.variant) + "</th>";
  table += "</tr></thead><tbody>";
  for (size_t number = 0; number < rows[0].numbers.size(); ++number) {
    const std::string& title = rows[0].numbers[number].first;
    table += "<tr><th scope=\"row\">" + escape_html(title) + "</th>";
    for (const Row& row : rows)
      table += "<td>" + escape_html(shown(title, row.numbers[number].second)) + "</td>";
    table += "</tr>";
  }
  const std::string note =
      str("Means over ", variants[0].runs.size(),
          " seeds, with the least and the greatest. Nats per token. The saving factor is the operations of ",
          escape_html(variants[0].name),
          " over those at which a variant has its last training loss. Routers that compare the tokens of a "
          "micro-batch see later ones: "
          "training and held-out losses of such variants are too low by what that tells, the causal ones are "
          "not.");
  return html_page(
      "Tessera study",
      "<header><p class=\"kicker\">Tessera study</p><h1>Loss against operations</h1></header>" +
          html_section("curves", "Training loss by modality", html_legend(names) + charts + "</div>") +
          html_section("numbers", "Numbers", html_note(note) + table + "</tbody></table></div>"));
}

Json json_of(const std::vector<StudyVariant>& variants, const std::vector<Row>& rows) {
  Json list = Json::array();
  for (size_t i = 0; i < rows.size(); ++i) {
    Json object{{"variant", rows[i].variant}, {"runs", Json::array()}};
    for (const ReportRun& run : variants[i].runs) object["runs"].push_back(run.folder);
    for (const auto& [title, spread] : rows[i].numbers)
      object["numbers"][title] =
          spread ? Json{{"mean", spread->mean}, {"least", spread->least}, {"most", spread->most}} : Json();
    list.push_back(std::move(object));
  }
  return list;
}

}  // namespace

std::vector<StudyVariant> read_study(const std::vector<std::string>& variants) {
  TESSERA_CHECK(!variants.empty(), "study: expected NAME=RUN,RUN,... for a baseline and its variants");
  std::vector<StudyVariant> study;
  for (const std::string& text : variants) {
    const size_t equals = text.find('=');
    TESSERA_CHECK(equals != std::string::npos && equals > 0 && equals + 1 < text.size(),
                  "study: expected NAME=RUN,RUN,..., got \"", text, "\"");
    StudyVariant& variant = study.emplace_back(StudyVariant{text.substr(0, equals), {}});
    std::istringstream folders(text.substr(equals + 1));
    for (std::string folder; std::getline(folders, folder, ',');) {
      const ReportRun& run = variant.runs.emplace_back(read_run(folder));
      TESSERA_CHECK(!run.steps.empty(), "study: ", folder, " has no metrics.jsonl with steps");
      TESSERA_CHECK(
          run.evaluation && run.evaluation->parts.contains("text") && run.evaluation->parts.contains("image"),
          "study: ", folder, " is not evaluated yet: tessera evaluate --run ", folder);
    }
    TESSERA_CHECK(variant.runs.size() == study[0].runs.size(), "study: ", variant.name, " has ",
                  variant.runs.size(), " runs, ", study[0].name, " has ", study[0].runs.size(),
                  ": one for each seed is needed");
  }
  return study;
}

std::optional<double> saving_factor(const ReportRun& baseline, const ReportRun& run,
                                    const std::string& column) {
  const std::vector<double> of_baseline = operations(baseline), of_run = operations(run);
  const std::vector<double> losses = smooth(run, column), baseline_losses = smooth(baseline, column);
  if (const auto at = reached(of_run, losses, baseline_losses.back())) return of_baseline.back() / *at;
  if (const auto at = reached(of_baseline, baseline_losses, losses.back())) return *at / of_run.back();
  return {};
}

void write_study(const std::vector<std::string>& names, const std::string& out) {
  const std::vector<StudyVariant> variants = read_study(names);
  std::vector<Row> rows;
  for (const StudyVariant& variant : variants) rows.push_back(row_of(variant, variants[0]));
  replace_file(out + ".html", page_of(variants, rows));
  write_json(out + ".json", json_of(variants, rows));
  for (const Row& row : rows) {
    std::printf("%s\n", row.variant.c_str());
    for (const auto& [title, spread] : row.numbers)
      std::printf("  %-32s %s\n", title.c_str(), shown(title, spread).c_str());
  }
}

}  // namespace tessera
