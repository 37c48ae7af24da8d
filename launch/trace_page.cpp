#include "launch/trace_page.h"

#include "launch/format.h"
#include "launch/report_html.h"

namespace tessera {
namespace {

constexpr double kLabelWidth = 150, kBarWidth = 840, kRowHeight = 26;

/// Work is blue and green, what makes it wait is warm, idleness is grey.
const char* color_of(Part part) {
  constexpr const char* kColors[] = {"#3f7fb0", "#4f9d76", "#d9a441", "#cf7a3a", "#c25450", "#a34a78",
                                     "#8559a5", "#b9895b", "#6a7f2f", "#4a8f96", "#9aa0a6"};
  static_assert(std::size(kColors) == kParts.size());
  return kColors[static_cast<size_t>(part)];
}

std::string bar_of(const std::string& label, const TimeSplit& split, double top) {
  std::string svg = str("<text x=\"0\" y=\"", top + 17, "\">", label, "</text>");
  double left = kLabelWidth;
  for (Part part : kParts) {
    const double share = static_cast<double>(split.of(part)) / static_cast<double>(split.total());
    if (share == 0) continue;
    svg += "<rect x=\"" + format_fixed(left, 2) + "\" y=\"" + format_fixed(top + 3, 0) + "\" width=\"" +
           format_fixed(share * kBarWidth, 2) + "\" height=\"20\" fill=\"" + color_of(part) + "\"><title>" +
           label + ": " + name_of(part) + " " + format_percent(share) + "</title></rect>";
    left += share * kBarWidth;
  }
  return svg;
}

std::string legend_of(const TimeSplit& overall) {
  std::string html = "<ul class=\"legend\">";
  for (Part part : kParts)
    if (overall.of(part) > 0)
      html += str("<li style=\"color:", color_of(part), "\"><span class=\"swatch\"></span><span>",
                  name_of(part), "</span></li>");
  return html + "</ul>";
}

}  // namespace

std::string page_of(const TraceSummary& summary) {
  std::string bars;
  double top = 0;
  const auto add = [&](const std::string& label, const TimeSplit& split) {
    bars += bar_of(label, split, top);
    top += kRowHeight;
  };
  add("all ranks", summary.overall.split);
  for (const RankTime& rank : summary.ranks) add(str("rank ", rank.header.rank), rank.split);
  for (const StepsTime& steps : summary.stretches) add(name_of(steps), steps.split);
  const std::string picture =
      str("<div class=\"card\"><svg viewBox=\"0 0 ", kLabelWidth + kBarWidth, " ", top,
          "\" role=\"img\" aria-label=\"Shares of the step\">", bars, "</svg></div>");
  const std::string name = escape_html(summary.run);
  return html_page(
      "Time of " + summary.run,
      "<header><p class=\"kicker\">Tessera trace</p><h1>" + name + "</h1></header>" +
          html_section("shares", "Where the time of a step goes",
                       html_note("Communication is the time that the training thread waits for "
                                 "messages or starts them.") +
                           legend_of(summary.overall.split) + picture) +
          html_section("numbers", "Numbers",
                       "<div class=\"card\"><pre>" + escape_html(text_of(summary)) + "</pre></div>"));
}

}  // namespace tessera
