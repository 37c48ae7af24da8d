#pragma once
// A summary of traces as a picture.

#include <string>

#include "launch/trace_summary.h"

namespace tessera {

/// One self-contained HTML page: a bar for each rank and each stretch of steps, divided by part, and the tables.
std::string page_of(const TraceSummary& summary);

}  // namespace tessera
