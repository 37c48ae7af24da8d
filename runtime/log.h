#pragma once
// Lines for people, on stderr, prefixed with the rank.  The prefix belongs to the thread, since ranks can be threads.

#include <string>

namespace tessera {

/// "rank 3: " in front of every later line of this thread; empty for a single rank.
void set_log_prefix(std::string prefix);
const std::string& log_prefix();

void log_line(const std::string& message);

}  // namespace tessera
