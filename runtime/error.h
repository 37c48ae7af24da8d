#pragma once
// Errors: one exception type, one macro.  Mistakes of programmers and of users both throw; nothing in the
// libraries exits or prints.  A message reads "who: expectation, then the value".

#include <sstream>
#include <stdexcept>
#include <string>

namespace tessera {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Concatenates anything printable.
template <class... Parts>
std::string str(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace tessera

/// TESSERA_CHECK(x.dtype() == y.dtype(), "softmax: y must be ", x.dtype(), " like x, got ", y.dtype());
#define TESSERA_CHECK(condition, ...)                      \
  do {                                                     \
    if (!(condition)) [[unlikely]]                         \
      throw ::tessera::Error(::tessera::str(__VA_ARGS__)); \
  } while (false)
