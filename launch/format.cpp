#include "launch/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace tessera {
namespace {

template <class... Values>
std::string print(const char* format, Values... values) {
  std::array<char, 400> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

/// Three significant digits of a number whose magnitude is below 10000, without zeros at the end of a
/// fraction.
std::string three_digits(double value) {
  const double magnitude = std::abs(value);
  const int decimals =
      magnitude == 0 ? 0 : std::clamp(2 - static_cast<int>(std::floor(std::log10(magnitude))), 0, 8);
  std::string text = print("%.*f", decimals, value);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

template <size_t count>
std::string scaled(double value, double base, const std::array<const char*, count>& units) {
  size_t unit = 0;
  // 999.5 of one unit would print as 1000 of it.
  while (unit + 1 < count && std::abs(value) >= base - 0.5) {
    value /= base;
    ++unit;
  }
  return three_digits(value) + (*units[unit] ? " " : "") + units[unit];
}

}  // namespace

std::string format_count(double value) {
  if (!std::isfinite(value)) return print("%f", value);
  return scaled(value, 1000, std::array{"", "k", "M", "G", "T", "P", "E"});
}

std::string format_bytes(double bytes) {
  if (!std::isfinite(bytes)) return print("%f", bytes);
  return scaled(bytes, 1024, std::array{"B", "KiB", "MiB", "GiB", "TiB", "PiB"});
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds)) return "unknown time";
  if (seconds < 9.95) return format_fixed(seconds, 1) + " s";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return print("%lld s", static_cast<long long>(whole));
  if (whole < 3600) return print("%lld min %lld s", whole / 60LL, whole % 60LL);
  return print("%lld h %lld min", whole / 3600LL, whole / 60LL % 60LL);
}

std::string format_fixed(double value, int decimals) { return print("%.*f", decimals, value); }

std::string format_percent(double fraction) { return format_fixed(100 * fraction, 1) + " %"; }

std::string format_grouped(int64_t value) {
  std::string text = std::to_string(value);
  for (int64_t at = static_cast<int64_t>(text.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
    text.insert(static_cast<size_t>(at), "\u00a0");
  return text;
}

std::string format_general(double value) { return print("%.6g", value); }

std::string zero_padded(int64_t value, size_t digits) {
  const std::string text = std::to_string(value);
  return std::string(text.size() < digits ? digits - text.size() : 0, '0') + text;
}

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const auto& row : rows) {
    text += "  " + row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (size_t i = 1; i < row.size(); ++i)
      text += "  " + std::string(widths[i] - row[i].size(), ' ') + row[i];
    text += "\n";
  }
  return text;
}

}  // namespace tessera
