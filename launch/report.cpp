#include "launch/report.h"

#include "launch/report_data.h"
#include "launch/report_html.h"
#include "launch/report_sections.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

constexpr size_t kMostSamples = 24;

std::string join_names(const std::vector<ReportRun>& runs) {
  std::string names;
  for (const ReportRun& run : runs) names += (names.empty() ? "" : ", ") + run.name;
  return names;
}

}  // namespace

void write_report(const std::vector<std::string>& folders, const std::string& data_directory,
                  const std::string& path) {
  const std::vector<ReportRun> runs = read_runs(folders);
  const std::string names = join_names(runs);
  const std::string body = "<header><p class=\"kicker\">Tessera run report</p><h1>" + escape_html(names) +
                           "</h1></header>" + headline_section(runs) + loss_section(runs) +
                           optimizer_section(runs) + throughput_section(runs) + routing_section(runs) +
                           sample_section(read_samples(data_directory, kMostSamples)) + config_section(runs) +
                           command_section(runs, data_directory, path);
  replace_file(path, html_page("Tessera report: " + names, body));
}

}  // namespace tessera
