// The sections of the report page that are not charts: routing, samples, settings, commands.

#include <algorithm>
#include <map>
#include <set>

#include "launch/format.h"
#include "launch/report_html.h"
#include "launch/report_sections.h"

namespace tessera {
namespace {

/// "12/text/3" -> block 12, column "text/3".
std::pair<int64_t, std::string> split_block(const std::string& key) {
  const size_t slash = key.find('/');
  const std::string block = key.substr(0, slash);
  const bool is_number =
      !block.empty() && block.size() < 10 && block.find_first_not_of("0123456789") == std::string::npos;
  if (slash == std::string::npos || !is_number) return {0, key};
  return {std::stoll(block), key.substr(slash + 1)};
}

std::string group_of(const std::string& label) { return label.substr(0, label.rfind('/')); }

/// Orders "text/2" before "text/10".
struct LabelOrder {
  bool operator()(const std::string& a, const std::string& b) const {
    if (group_of(a) != group_of(b)) return group_of(a) < group_of(b);
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  }
};

using HeatRows = std::map<int64_t, std::map<std::string, double, LabelOrder>>;

HeatRows heat_rows(const std::map<std::string, double>& table) {
  HeatRows rows;
  for (const auto& [key, value] : table) {
    const auto [block, label] = split_block(key);
    rows[block][label] = value;
  }
  return rows;
}

std::string heat_cell(const std::map<std::string, double, LabelOrder>* row, const std::string& label,
                      double full, const char* kind) {
  if (row == nullptr || !row->contains(label)) return "<td></td>";
  const double value = row->at(label);
  const double strength = std::clamp(value / full, 0.0, 1.0);
  return str("<td class=\"", kind, "\" style=\"--strength:", format_fixed(strength, 3), "\">",
             format_percent(value), "</td>");
}

/// Blocks by experts; then, by group, the tokens that no expert took.
std::string heat_table(const ReportRun& run) {
  const HeatRows loads = heat_rows(run.expert_load), lefts = heat_rows(run.unrouted);
  std::set<std::string, LabelOrder> experts, groups;
  std::set<int64_t> blocks;
  std::map<std::string, double> group_sizes;
  for (const auto& [block, row] : loads)
    for (const auto& [label, value] : row) experts.insert(label), blocks.insert(block);
  for (const auto& [block, row] : lefts)
    for (const auto& [label, value] : row) groups.insert(label), blocks.insert(block);
  for (const std::string& expert : experts) ++group_sizes[group_of(expert)];

  std::string html = "<div class=\"card\"><table class=\"heat\"><caption>" + escape_html(run.name) +
                     "</caption><thead><tr><th scope=\"col\">block</th>";
  for (const std::string& expert : experts) html += "<th scope=\"col\">" + escape_html(expert) + "</th>";
  for (const std::string& group : groups)
    html += "<th scope=\"col\">" + escape_html(group) + " without expert</th>";
  html += "</tr></thead><tbody>";
  for (int64_t block : blocks) {
    html += str("<tr><th scope=\"row\">", block, "</th>");
    const auto load = loads.find(block), left = lefts.find(block);
    for (const std::string& expert : experts)
      html += heat_cell(load == loads.end() ? nullptr : &load->second, expert,
                        std::min(1.0, 2 / group_sizes[group_of(expert)]), "load");
    for (const std::string& group : groups)
      html += heat_cell(left == lefts.end() ? nullptr : &left->second, group, 1, "left");
    html += "</tr>";
  }
  return html + "</tbody></table></div>";
}

std::string figure_of(const SamplePair& pair) {
  const std::string name = escape_html(pair.name);
  return "<figure><div><img alt=\"" + name + ", original\" src=\"" + png_url(pair.original) +
         "\"><img alt=\"" + name + ", decoded from its codes\" src=\"" + png_url(pair.reconstruction) +
         "\"></div><figcaption>" + name + "</figcaption></figure>";
}

std::string readable(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// The settings in which runs differ, side by side; empty when there are none.
std::string differences(const std::vector<ReportRun>& runs) {
  std::vector<const ReportRun*> known;
  std::map<std::string, std::vector<std::string>> table;
  for (const ReportRun& run : runs)
    if (run.config && run.config->is_object()) known.push_back(&run);
  for (size_t i = 0; i < known.size(); ++i) {
    const Json flat = known[i]->config->flatten();
    for (const auto& [key, value] : flat.items()) {
      std::vector<std::string>& row = table[key.substr(std::min<size_t>(1, key.size()))];
      row.resize(known.size(), "–");
      row[i] = readable(value);
    }
  }
  std::string rows;
  for (const auto& [key, row] : table) {
    if (std::all_of(row.begin(), row.end(), [&](const std::string& value) { return value == row[0]; }))
      continue;
    std::string dotted = key;
    std::replace(dotted.begin(), dotted.end(), '/', '.');
    rows += "<tr><th scope=\"row\">" + escape_html(dotted) + "</th>";
    for (const std::string& value : row) rows += "<td>" + escape_html(value) + "</td>";
    rows += "</tr>";
  }
  if (rows.empty()) return "";
  std::string head = "<tr><th scope=\"col\">Settings that differ</th>";
  for (const ReportRun* run : known) head += "<th scope=\"col\">" + escape_html(run->name) + "</th>";
  return "<div class=\"card\"><table><thead>" + head + "</tr></thead><tbody>" + rows +
         "</tbody></table></div>";
}

/// One argument of a shell command.
std::string shell_quote(const std::string& text) {
  constexpr const char* kSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=+,:@";
  if (!text.empty() && text.find_first_not_of(kSafe) == std::string::npos) return text;
  std::string quoted = "'";
  for (char letter : text) quoted += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return quoted + "'";
}

}  // namespace

std::string routing_section(const std::vector<ReportRun>& runs) {
  std::string tables, without;
  for (const ReportRun& run : runs) {
    if (run.expert_load.empty() && run.unrouted.empty())
      without += (without.empty() ? "" : ", ") + escape_html(run.name);
    else
      tables += heat_table(run);
  }
  std::string html;
  if (!tables.empty())
    html += html_note(
                "Share of a group's tokens that each expert took, mean of the last tenth of the steps; the "
                "colour is full at "
                "twice an even split. On the right, the share of tokens that no expert took.") +
            "<div class=\"heats\">" + tables + "</div>";
  if (!without.empty())
    html += html_missing("No routing is recorded for " + without + ": a dense model, or no step yet.");
  return html_section("routing", "Routing load", html);
}

std::string sample_section(const Samples& samples) {
  std::string html;
  if (samples.pairs.empty()) {
    html = html_missing(
        "There are no sample pictures: <code>tessera prepare</code> writes them beside a dataset with "
        "images, and "
        "<code>tessera report --data</code> says where that is.");
  } else {
    html = html_note(
               "Left the picture, right what its codes decode to: no model over these codes can draw better "
               "than the right one.") +
           "<div class=\"card\"><div class=\"samples\">";
    for (const SamplePair& pair : samples.pairs) html += figure_of(pair);
    html += "</div></div>";
    if (samples.left_out > 0)
      html += html_note(str(samples.left_out, " more pairs are in the samples folder of the dataset."));
  }
  return html_section("samples", "Image reconstructions", html);
}

std::string config_section(const std::vector<ReportRun>& runs) {
  std::string details;
  for (const ReportRun& run : runs) {
    if (run.config)
      details += "<details><summary>" + escape_html(run.name) + "</summary><pre>" +
                 escape_html(run.config->dump(2, ' ', false, Json::error_handler_t::replace)) +
                 "</pre></details>";
    else
      details +=
          html_missing("<b>" + escape_html(run.name) + "</b> has no config.json: it has not started yet.");
  }
  return html_section("config", "Resolved configuration",
                      differences(runs) + "<div class=\"card details\">" + details + "</div>");
}

std::string command_section(const std::vector<ReportRun>& runs, const std::string& data_directory,
                            const std::string& path) {
  std::string commands, folders;
  for (const ReportRun& run : runs) {
    const std::string folder = shell_quote(run.folder);
    if (run.config)
      commands += "tessera train " + shell_quote(run.folder + "/config.json") +
                  " out=" + shell_quote(run.folder + "_again") + "\n";
    commands += "tessera evaluate --run " + folder + "\n";
    folders += " " + folder;
  }
  commands += "tessera report" + folders +
              (data_directory.empty() ? "" : " --data " + shell_quote(data_directory)) + " --out " +
              shell_quote(path) + "\n";
  return html_section(
      "commands", "Commands",
      html_note(
          "Results do not depend on the number of ranks or threads, so <code>mpirun -n N</code> may stand in "
          "front of train and evaluate.") +
          "<div class=\"card\"><pre>" + escape_html(commands) + "</pre></div>");
}

}  // namespace tessera
