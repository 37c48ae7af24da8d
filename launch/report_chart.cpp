#include "launch/report_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "launch/format.h"
#include "launch/report_html.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kWidth = 520, kHeight = 284;
constexpr double kLeft = 62, kRight = 508, kTop = 14, kBottom = 244;
constexpr size_t kMostPoints = 2000, kStretches = 1000;
constexpr size_t kSmoothFrom = 20;

std::string coordinate(double value) { return format_fixed(value, 2); }

/// Values to positions along one axis of the drawing.
struct Axis {
  double least = 0, most = 1;
  double begin = 0, end = 1;
  bool logarithmic = false;

  double scaled(double value) const { return logarithmic ? std::log10(value) : value; }
  double operator()(double value) const {
    return begin + (scaled(value) - scaled(least)) / (scaled(most) - scaled(least)) * (end - begin);
  }
};

std::string format_value(double value, ValueFormat format) {
  switch (format) {
    case ValueFormat::plain:
      return format_general(value);
    case ValueFormat::count:
      return format_count(value);
    case ValueFormat::percent:
      return format_general(100 * value) + " %";
  }
  throw Error("chart: unknown format");
}

const char* name_of(ValueFormat format) {
  constexpr const char* kNames[] = {"plain", "count", "percent"};
  return kNames[static_cast<size_t>(format)];
}

struct Range {
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();

  void add(double value) {
    if (!std::isfinite(value)) return;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  bool empty() const { return least > most; }
};

Axis x_axis(const Chart& chart) {
  Range range;
  for (const ChartSeries& series : chart.series)
    for (double x : series.x) range.add(x);
  if (range.least == range.most) range.most += 1;
  return {range.least, range.most, kLeft, kRight};
}

Axis y_axis(const Chart& chart, Range range) {
  for (const auto& [label, level] : chart.references) range.add(level);
  const bool logarithmic = !chart.from_zero && range.least > 0 && range.most > 100 * range.least;
  if (chart.from_zero) range.add(0);
  if (range.least == range.most) range.most += std::max(std::abs(range.most), 1e-12);
  // A little air, so that extremes do not lie on the frame.
  const double air =
      logarithmic ? std::pow(range.most / range.least, 0.04) : 0.04 * (range.most - range.least);
  const double least = logarithmic                           ? range.least / air
                       : chart.from_zero && range.least == 0 ? 0
                                                             : range.least - air;
  const double most = logarithmic ? range.most * air : range.most + air;
  return {least, most, kBottom, kTop, logarithmic};
}

std::vector<double> decades(double least, double most) {
  std::vector<double> ticks;
  for (double exponent = std::ceil(std::log10(least)); exponent <= std::log10(most); ++exponent)
    ticks.push_back(std::pow(10.0, exponent));
  return ticks;
}

std::string grid(const Chart& chart, const Axis& x, const Axis& y) {
  std::string svg;
  for (double tick : y.logarithmic ? decades(y.least, y.most) : round_ticks(y.least, y.most, 5)) {
    const std::string at = coordinate(y(tick));
    svg +=
        str("<line class=\"rule\" x1=\"", kLeft, "\" x2=\"", kRight, "\" y1=\"", at, "\" y2=\"", at, "\"/>");
    svg += str("<text class=\"tick\" text-anchor=\"end\" dominant-baseline=\"middle\" x=\"", kLeft - 8,
               "\" y=\"", at, "\">", escape_html(format_value(tick, chart.format)), "</text>");
  }
  for (double tick : round_ticks(x.least, x.most, 5))
    svg += str("<text class=\"tick\" text-anchor=\"middle\" x=\"", coordinate(x(tick)), "\" y=\"",
               kBottom + 20, "\">", format_count(tick), "</text>");
  svg += str("<line class=\"axis\" x1=\"", kLeft, "\" x2=\"", kRight, "\" y1=\"", kBottom, "\" y2=\"",
             kBottom, "\"/>");
  return svg + str("<text class=\"tick\" text-anchor=\"end\" x=\"", kRight, "\" y=\"", kHeight - 6, "\">",
                   escape_html(chart.x_axis), "</text>");
}

std::string references(const Chart& chart, const Axis& y) {
  std::string svg;
  for (const auto& [label, level] : chart.references) {
    const double at = y(level);
    svg += str("<line class=\"reference\" x1=\"", kLeft, "\" x2=\"", kRight, "\" y1=\"", coordinate(at),
               "\" y2=\"", coordinate(at), "\"/><text class=\"tick\" text-anchor=\"end\" x=\"", kRight - 2,
               "\" y=\"", coordinate(at - 5), "\">", escape_html(label), "</text>");
  }
  return svg;
}

/// Polylines through the finite points, one for each run of them.
std::string polylines(const std::vector<double>& xs, const std::vector<double>& ys, const Axis& x,
                      const Axis& y) {
  std::string svg, points;
  size_t length = 0;
  const auto finish = [&] {
    // A polyline of one point draws nothing; twice the same one is a dot, by its round ends.
    if (length == 1) points += points;
    if (length > 0) svg += "<polyline points=\"" + points + "\"/>";
    points.clear();
    length = 0;
  };
  for (size_t i = 0; i < xs.size(); ++i) {
    if (!std::isfinite(ys[i]) || (y.logarithmic && ys[i] <= 0)) {
      finish();
      continue;
    }
    points += coordinate(x(xs[i])) + "," + coordinate(y(ys[i])) + " ";
    ++length;
  }
  finish();
  return svg;
}

/// The least and the greatest value of each stretch of a long series, in the order in which they come.
void thin_out(std::vector<double>& xs, std::vector<double>& ys) {
  if (xs.size() <= kMostPoints) return;
  std::vector<double> kept_x, kept_y;
  for (size_t stretch = 0; stretch < kStretches; ++stretch) {
    const size_t begin = stretch * xs.size() / kStretches, end = (stretch + 1) * xs.size() / kStretches;
    size_t least = begin, most = begin;
    for (size_t i = begin; i < end; ++i) {
      if (ys[i] < ys[least] || std::isnan(ys[least])) least = i;
      if (ys[i] > ys[most] || std::isnan(ys[most])) most = i;
    }
    for (const size_t at : {std::min(least, most), std::max(least, most)}) {
      kept_x.push_back(xs[at]);
      kept_y.push_back(ys[at]);
    }
  }
  xs = std::move(kept_x);
  ys = std::move(kept_y);
}

std::string series_group(const char* kind, const ChartSeries& series, std::vector<double> ys, const Axis& x,
                         const Axis& y) {
  std::vector<double> xs = series.x;
  thin_out(xs, ys);
  return str("<g class=\"", kind, " run-", series.color % 6, "\" data-name=\"", escape_html(series.name),
             "\">", polylines(xs, ys, x, y), "</g>");
}

/// What a reader without the picture hears.
std::string description(const Chart& chart) {
  std::string text;
  for (const ChartSeries& series : chart.series) {
    const auto is_number = [](double value) { return std::isfinite(value); };
    const auto first = std::find_if(series.y.begin(), series.y.end(), is_number);
    const auto last = std::find_if(series.y.rbegin(), series.y.rend(), is_number);
    if (first == series.y.end()) continue;
    text += str(text.empty() ? "" : "; ", series.name, ": from ", format_value(*first, chart.format), " to ",
                format_value(*last, chart.format), " over ", series.y.size(), " points");
  }
  return text + ".";
}

}  // namespace

std::vector<double> moving_mean(const std::vector<double>& values, int64_t windows) {
  const auto count = static_cast<int64_t>(values.size());
  const int64_t half = std::max<int64_t>(3, count / windows) / 2;
  std::vector<double> means(values.size(), std::numeric_limits<double>::quiet_NaN());
  for (int64_t at = 0; at < count; ++at) {
    if (!std::isfinite(values[static_cast<size_t>(at)])) continue;
    double sum = 0;
    int64_t terms = 0;
    // Narrow at the start, since a lopsided window would bend the line where the loss falls fastest;
    // lopsided at the end, since a narrow one would end it in noise.
    const int64_t reach = std::min(half, at);
    for (int64_t near = at - reach; near <= std::min(at + reach, count - 1); ++near) {
      if (!std::isfinite(values[static_cast<size_t>(near)])) continue;
      sum += values[static_cast<size_t>(near)];
      ++terms;
    }
    means[static_cast<size_t>(at)] = sum / static_cast<double>(terms);
  }
  return means;
}

std::vector<double> round_ticks(double least, double most, int count) {
  const double rough = (most - least) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (double multiple : {5.0, 2.0, 1.0})
    if (multiple * power >= rough * (1 - 1e-9)) step = multiple * power;
  std::vector<double> ticks;
  for (double multiple = std::ceil(least / step - 1e-9); multiple * step <= most + 1e-9 * step; ++multiple)
    ticks.push_back(multiple * step + 0.0);  // + 0.0: never "-0"
  return ticks;
}

std::string chart_figure(const Chart& chart) {
  std::string figure = "<figure class=\"chart\"><figcaption id=\"" + chart.id + "-title\">" +
                       escape_html(chart.title) + " <span class=\"unit\">" + escape_html(chart.axis) +
                       "</span></figcaption>";
  Range values;
  for (const ChartSeries& series : chart.series)
    for (double y : series.y) values.add(y);
  if (values.empty()) return figure + "<p class=\"missing\">No value is recorded yet.</p></figure>";

  const Axis x = x_axis(chart), y = y_axis(chart, values);
  figure +=
      str("<svg viewBox=\"0 0 ", kWidth, " ", kHeight, "\" role=\"img\" aria-labelledby=\"", chart.id,
          "-title ", chart.id, "-text\" data-format=\"", name_of(chart.format), "\" data-box=\"", kLeft, " ",
          kRight, " ", kTop, " ", kBottom, "\" data-axis=\"", escape_html(chart.x_axis), "\" data-x=\"",
          x.least, " ", x.most, "\" data-y=\"", str(y.least, " ", y.most), "\" data-log=\"", y.logarithmic,
          "\"><desc id=\"", chart.id, "-text\">", escape_html(description(chart)), "</desc>");
  figure += grid(chart, x, y);
  const auto is_smoothed = [&](const ChartSeries& series) {
    return chart.smooth && series.y.size() >= kSmoothFrom;
  };
  for (const ChartSeries& series : chart.series)
    figure += series_group(is_smoothed(series) ? "raw faint" : "raw", series, series.y, x, y);
  for (const ChartSeries& series : chart.series)
    if (is_smoothed(series)) figure += series_group("smooth", series, moving_mean(series.y), x, y);
  figure += references(chart, y);
  figure +=
      str("<line class=\"cursor\" y1=\"", kTop, "\" y2=\"", kBottom, "\" visibility=\"hidden\"/></svg>");
  return figure + "<div class=\"tip\" hidden></div></figure>";
}

}  // namespace tessera
