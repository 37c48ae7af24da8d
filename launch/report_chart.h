#pragma once
// Line charts as SVG, readable without script; the page's script adds a read-out under the pointer.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tessera {

/// y NaN: a gap.
struct ChartSeries {
  std::string name;
  size_t color = 0;  ///< index of the run
  std::vector<double> x, y;
};

enum class ValueFormat { plain, count, percent };

struct Chart {
  std::string id;           ///< unique on the page
  std::string title, axis;  ///< axis: what y is, with its unit
  ValueFormat format = ValueFormat::plain;
  bool from_zero = false;
  bool smooth = false;          ///< a moving mean on top of the values, from 20 of them on
  std::string x_axis = "step";  ///< what x is
  std::vector<ChartSeries> series{};
  std::vector<std::pair<std::string, double>> references{};  ///< named levels, drawn as dashed lines
};

/// A <figure>; a sentence in place of the drawing when there is no finite value.  A y axis whose values
/// span more than two decades, all above zero, is logarithmic.  Series of more than 2000 points are drawn
/// by the least and the greatest value of each of 1000 stretches.
std::string chart_figure(const Chart& chart);

/// Mean over the finite values of a window of max(3, n / windows) points around each, shorter at the ends; NaN
/// stays NaN.
std::vector<double> moving_mean(const std::vector<double>& values, int64_t windows = 40);

/// At most count + 1 round numbers (1, 2 or 5 times a power of ten) that lie in [least, most].
std::vector<double> round_ticks(double least, double most, int count);

}  // namespace tessera
