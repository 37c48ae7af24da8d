#pragma once

#include <string>

namespace tessera {

/// What follows the colon of the first line of a /proc file that starts with key; empty without one.
std::string proc_value(const std::string& path, const std::string& key);

}  // namespace tessera
