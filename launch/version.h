#pragma once

#include <string>

namespace tessera {

/// Version, compiler, and what this build can run on, in a few lines.
std::string version_text();

}  // namespace tessera
