#pragma once
// Numbers for people: four digits at most, a unit, no exponent.

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

/// "999", "12.3 k", "4.56 M", "1.4 G", "2.1 T", "3 P"; "0.123" below one; "nan" and "inf" as such.
std::string format_count(double value);
std::string format_bytes(double bytes);       ///< "512 B", "1.5 KiB", "24 GiB"
std::string format_duration(double seconds);  ///< "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"
std::string format_fixed(double value, int decimals);
std::string format_percent(double fraction);  ///< "12.3 %"
std::string format_grouped(int64_t value);    ///< "1 234 567" with no-break spaces
/// value with zeros in front up to so many digits, for names that sort.
std::string zero_padded(int64_t value, size_t digits);
/// Six significant digits, with an exponent where one is shorter: for settings such as 0.0003 or 1e-12.
std::string format_general(double value);
/// Lines of columns, two spaces apart: the first one to the left, the others to the right.  All rows are as long as the first.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace tessera
