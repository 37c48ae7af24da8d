#include "runtime/log.h"

#include <cstdio>

namespace tessera {
namespace {

thread_local std::string prefix;

}  // namespace

void set_log_prefix(std::string value) { prefix = std::move(value); }
const std::string& log_prefix() { return prefix; }

void log_line(const std::string& message) {
  const std::string line = prefix + message + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);  // one call, so that lines of ranks do not mix
}

}  // namespace tessera
