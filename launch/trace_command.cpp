#include "launch/trace_command.h"

#include <filesystem>

#include "launch/merged_trace.h"
#include "launch/trace_page.h"
#include "launch/trace_summary.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

TraceSummary merge(const TraceOptions& options, std::ostream& stream) {
  MergedTrace merged(stream);
  TraceSummarizer summarizer(options.run);
  for (int rank = 0, ranks = 1; rank < ranks; ++rank) {
    const TraceFile trace = read_trace(trace_path(options.run, rank));
    summarizer.add(trace);
    merged.add(trace);
    ranks = trace.header.ranks;
  }
  merged.finish();
  return summarizer.summary(options.first, options.last);
}

}  // namespace

void run_trace(const TraceOptions& options, std::ostream& out) {
  TESSERA_CHECK(std::filesystem::exists(trace_path(options.run, 0)), trace_path(options.run, 0),
                ": missing; tessera train with trace=true writes it at its end");
  const std::string path = options.out.empty() ? options.run + "/trace.json" : options.out;
  TraceSummary summary;
  replace_file(path, [&](std::ostream& stream) { summary = merge(options, stream); });
  if (!options.page.empty()) replace_file(options.page, page_of(summary));
  if (options.json)
    out << json_of(summary).dump(2) << "\n";
  else
    out << text_of(summary) << "\nall ranks on one clock: " << path
        << " (opens in https://ui.perfetto.dev)\n";
}

}  // namespace tessera
