#include "tests/simulated_gpu/checker/report.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <tuple>
#include <utility>

namespace simulated_gpu {
namespace {

struct List {
  std::mutex mutex;
  std::vector<Report> reports;
};

/// Never destroyed: reports may still come while static objects of a program end.
List& list() {
  static List& list = *new List;
  return list;
}

auto place(const Report& report) {
  return std::tie(report.kind, report.kernel, report.source, report.instruction);
}

const char* name(ReportKind kind) {
  switch (kind) {
    case ReportKind::memory:
      return "memory error";
    case ReportKind::race:
      return "race";
    case ReportKind::uninitialised:
      return "uninitialised read";
    case ReportKind::synchronisation:
      return "synchronisation error";
    case ReportKind::stream:
      return "unordered operations";
    case ReportKind::limit:
      return "limit exceeded";
    case ReportKind::usage:
      return "usage error";
    case ReportKind::collective:
      return "collective mismatch";
  }
  return "unknown kind";
}

}  // namespace

void add_report(Report report) {
  List& all = list();
  const std::lock_guard lock(all.mutex);
  const auto same = std::find_if(all.reports.begin(), all.reports.end(),
                                 [&](const Report& earlier) { return place(earlier) == place(report); });
  if (same == all.reports.end())
    all.reports.push_back(std::move(report));
  else
    same->count += report.count;
}

std::vector<Report> take_reports() {
  List& all = list();
  const std::lock_guard lock(all.mutex);
  return std::exchange(all.reports, {});
}

std::string describe(const Report& report) {
  std::string text = name(report.kind);
  if (!report.kernel.empty()) text += " in " + report.kernel;
  if (!report.source.empty()) text += ", " + report.source;
  text += ": " + report.text;
  if (!report.instruction.empty()) text += " [" + report.instruction + "]";
  if (report.count > 1) text += " (" + std::to_string(report.count) + " times)";
  return text;
}

}  // namespace simulated_gpu
