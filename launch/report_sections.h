#pragma once
// The sections of the report page, each as HTML.

#include <string>
#include <vector>

#include "launch/report_data.h"

namespace tessera {

std::string headline_section(const std::vector<ReportRun>& runs);
std::string loss_section(const std::vector<ReportRun>& runs);
std::string optimizer_section(const std::vector<ReportRun>& runs);
std::string throughput_section(const std::vector<ReportRun>& runs);
std::string routing_section(const std::vector<ReportRun>& runs);
std::string sample_section(const Samples& samples);
std::string config_section(const std::vector<ReportRun>& runs);
std::string command_section(const std::vector<ReportRun>& runs, const std::string& data_directory,
                            const std::string& path);

}  // namespace tessera
