#include "launch/report_sections.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "launch/format.h"
#include "launch/report_chart.h"
#include "launch/report_html.h"

namespace tessera {
namespace {

/// The parts of an evaluation in the order of the table.
constexpr struct {
  const char* key;
  const char* title;
} kParts[] = {{"text", "Text"}, {"image", "Image"}, {"image_plain", "Image, plain patches"}};

std::string legend(const std::vector<ReportRun>& runs) {
  std::vector<std::string> names;
  for (const ReportRun& run : runs) names.push_back(run.name);
  return html_legend(names);
}

std::optional<double> training_flops_per_token(const ReportRun& run) {
  const auto flops = run.columns.find("flops"), tokens = run.columns.find("tokens");
  if (flops == run.columns.end()) return std::nullopt;
  std::vector<double> ratios;
  for (size_t i = 0; i < run.steps.size(); ++i) ratios.push_back(flops->second[i] / tokens->second[i]);
  return median(ratios);
}

std::optional<double> median_of(const ReportRun& run, const char* column) {
  const auto found = run.columns.find(column);
  return found == run.columns.end() ? std::nullopt : median(found->second);
}

std::string cell(const std::optional<double>& value, std::string (*format)(double)) {
  return "<td>" + (value ? format(*value) : "–") + "</td>";
}

std::string nats(double value) { return format_fixed(value, 3); }

/// The loss of one part, and how it stands against the unigram.
std::string loss_cell(const ReportRun& run, const char* part) {
  const auto* held_out =
      run.evaluation && run.evaluation->parts.contains(part) ? &run.evaluation->parts.at(part) : nullptr;
  if (held_out == nullptr || held_out->tokens == 0 || !held_out->nats) return "<td>–</td>";
  std::string html = "<td><span class=\"value\">" + nats(*held_out->nats) + "</span>";
  if (held_out->unigram) {
    const double gain = *held_out->unigram - *held_out->nats;
    html += str("<small class=\"", gain > 0 ? "better" : "worse", "\">", nats(std::abs(gain)),
                gain > 0 ? " below" : " above", " unigram</small>");
  }
  return html + "</td>";
}

/// One row per distinct set of baselines: runs on the same held-out tokens share theirs.
std::string baseline_rows(const std::vector<ReportRun>& runs) {
  std::string html;
  std::set<std::string> seen;
  for (const ReportRun& run : runs) {
    if (!run.evaluation) continue;
    for (const auto& [title, member] :
         {std::pair{"Smoothed unigram", &HeldOut::unigram}, std::pair{"Smoothed bigram", &HeldOut::bigram}}) {
      std::string cells;
      for (const auto& part : kParts) {
        const auto found = run.evaluation->parts.find(part.key);
        const bool has = found != run.evaluation->parts.end() && found->second.tokens > 0;
        cells += cell(has ? found->second.*member : std::nullopt, nats);
      }
      if (seen.insert(title + cells).second)
        html += str("<tr class=\"baseline\"><th scope=\"row\">", title, "</th>", cells,
                    "<td></td><td></td><td></td></tr>");
    }
  }
  return html;
}

/// Sentences about what the numbers of the table are.
std::string evaluation_notes(const std::vector<ReportRun>& runs) {
  std::string html;
  for (const ReportRun& run : runs) {
    const std::string name = "<b>" + escape_html(run.name) + "</b>";
    if (!run.evaluation) {
      html += html_missing(name + " is not evaluated yet: <code>tessera evaluate --run " +
                           escape_html(run.folder) + "</code>.");
      continue;
    }
    std::string counts;
    std::map<std::string, std::string> causal;
    for (const auto& part : kParts) {
      const auto found = run.evaluation->parts.find(part.key);
      if (found == run.evaluation->parts.end()) continue;
      const std::string what = part.key == std::string("image_plain") ? "plain" : part.key;
      counts += str(counts.empty() ? "" : ", ", format_grouped(found->second.tokens), " ", what);
      for (const auto& [way, nats] : found->second.causal) {
        std::string& list = causal[way];
        list += str(list.empty() ? "" : ", ", what, " ", format_fixed(nats, 3));
      }
    }
    std::string note = str(name, ": step ", run.evaluation->step, ", ", counts, " targets.");
    if (run.evaluation->routing == "batch")
      note +=
          " Its experts chose among the tokens of a whole micro-batch, later ones included, so its losses "
          "leak the future.";
    for (const auto& [way, list] : causal)
      note += str(" Routed by ", way == "thresholds" ? "the thresholds of training" : "auxiliary routers",
                  ", which see no later token: ", list, " nats.");
    html += html_note(note);
  }
  return html;
}

/// One series per run that has the column.
std::vector<ChartSeries> series_of(const std::vector<ReportRun>& runs, const char* column) {
  std::vector<ChartSeries> series;
  for (size_t i = 0; i < runs.size(); ++i)
    if (const auto found = runs[i].columns.find(column); found != runs[i].columns.end())
      series.push_back({runs[i].name, i, runs[i].steps, found->second});
  return series;
}

/// The baselines of a part, when all evaluated runs agree on them.
std::vector<std::pair<std::string, double>> baselines_of(const std::vector<ReportRun>& runs,
                                                         const char* part) {
  std::set<std::pair<double, double>> levels;
  for (const ReportRun& run : runs) {
    if (!run.evaluation || !run.evaluation->parts.contains(part)) continue;
    const HeldOut& held_out = run.evaluation->parts.at(part);
    if (held_out.tokens > 0 && held_out.unigram && held_out.bigram)
      levels.insert({*held_out.unigram, *held_out.bigram});
  }
  if (levels.size() != 1) return {};
  return {{"unigram (held out)", levels.begin()->first}, {"bigram (held out)", levels.begin()->second}};
}

std::string nonfinite_notes(const std::vector<ReportRun>& runs) {
  constexpr size_t kMost = 5;
  std::string html;
  for (const ReportRun& run : runs) {
    if (run.nonfinite.empty()) continue;
    std::string list;
    for (size_t i = 0; i < std::min(kMost, run.nonfinite.size()); ++i)
      list += (i ? "; " : "") + escape_html(run.nonfinite[i]);
    if (run.nonfinite.size() > kMost) list += str("; and ", run.nonfinite.size() - kMost, " more steps");
    html += html_note("<b>" + escape_html(run.name) + "</b> has values that are not finite: " + list + ".");
  }
  return html;
}

}  // namespace

std::string headline_section(const std::vector<ReportRun>& runs) {
  std::string table = "<div class=\"card\"><table><thead><tr><th scope=\"col\">Run</th>";
  for (const auto& part : kParts) table += str("<th scope=\"col\">", part.title, "</th>");
  table +=
      "<th scope=\"col\">Parameters</th><th scope=\"col\">FLOPs per token</th><th "
      "scope=\"col\">Tokens/s</th></tr></thead><tbody>";
  for (size_t i = 0; i < runs.size(); ++i) {
    const ReportRun& run = runs[i];
    table += str("<tr><th scope=\"row\" class=\"run-", i % 6, "\"><span class=\"swatch\"></span><span>",
                 escape_html(run.name), "</span></th>");
    for (const auto& part : kParts) table += loss_cell(run, part.key);
    const std::optional<double> parameters =
        run.evaluation && run.evaluation->parameters
            ? std::optional(static_cast<double>(*run.evaluation->parameters))
            : std::nullopt;
    table += cell(parameters, format_count) + cell(training_flops_per_token(run), format_count) +
             cell(median_of(run, "tokens_per_second"), format_count) + "</tr>";
  }
  table += baseline_rows(runs) + "</tbody></table></div>";
  const std::string lead = html_note(
      "Nats per token on held-out data, lower is better. Patches of plain background are nearly free to "
      "predict, so they are "
      "counted apart. FLOPs are those of a training step, forward and backward, by the ledger; tokens/s is "
      "the median over steps.");
  return html_section("held-out", "Held-out loss", lead + table + evaluation_notes(runs));
}

std::string loss_section(const std::vector<ReportRun>& runs) {
  const Chart text{.id = "loss-text",
                   .title = "Text loss",
                   .axis = "nats per token",
                   .smooth = true,
                   .series = series_of(runs, "loss_text"),
                   .references = baselines_of(runs, "text")};
  const Chart image{.id = "loss-image",
                    .title = "Image loss",
                    .axis = "nats per token",
                    .smooth = true,
                    .series = series_of(runs, "loss_image")};
  return html_section(
      "loss", "Training loss by modality",
      html_note("Faint: every step. Strong: a moving mean. Image loss counts plain patches too.") +
          legend(runs) + "<div class=\"charts\">" + chart_figure(text) + chart_figure(image) + "</div>" +
          nonfinite_notes(runs));
}

std::string optimizer_section(const std::vector<ReportRun>& runs) {
  const Chart rate{.id = "learning-rate",
                   .title = "Learning rate",
                   .axis = "per step",
                   .from_zero = true,
                   .series = series_of(runs, "learning_rate")};
  const Chart norm{.id = "gradient-norm",
                   .title = "Gradient norm",
                   .axis = "before clipping",
                   .smooth = true,
                   .series = series_of(runs, "gradient_norm")};
  return html_section("optimizer", "Learning rate and gradient norm",
                      "<div class=\"charts\">" + chart_figure(rate) + chart_figure(norm) + "</div>");
}

std::string throughput_section(const std::vector<ReportRun>& runs) {
  const Chart tokens{.id = "tokens-per-second",
                     .title = "Throughput",
                     .axis = "tokens/s over all ranks",
                     .format = ValueFormat::count,
                     .from_zero = true,
                     .smooth = true,
                     .series = series_of(runs, "tokens_per_second")};
  const Chart peak{.id = "matrix-peak",
                   .title = "Share of the matrix peak",
                   .axis = "ledger FLOP/s over the peak at start",
                   .format = ValueFormat::percent,
                   .from_zero = true,
                   .smooth = true,
                   .series = series_of(runs, "matrix_peak_fraction")};
  return html_section("throughput", "Throughput",
                      "<div class=\"charts\">" + chart_figure(tokens) + chart_figure(peak) + "</div>");
}

}  // namespace tessera
