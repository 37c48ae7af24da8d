// Adds a line of ratios to the history: record_history RESULTS COMMIT HISTORY PAGE
//
// RESULTS is a folder with the files that step_profile, step_ratios, scaling (of two ranks) and overhead leave; COMMIT is what was
// measured.  PAGE becomes an HTML page of all lines.
#include <filesystem>
#include <iostream>

#include "benchmarks/history.h"
#include "launch/append_file.h"
#include "runtime/replace_file.h"

int main(int argc, char** argv) {
  using namespace tessera;
  if (argc != 5) {
    std::cerr << "usage: record_history RESULTS COMMIT HISTORY PAGE\n";
    return 2;
  }
  const std::string history = argv[3], page = argv[4];
  try {
    std::vector<benchmarks::HistoryLine> lines;
    if (std::filesystem::exists(history)) lines = benchmarks::read_history(history);
    lines.push_back(benchmarks::measured_state(argv[1], argv[2]));
    AppendFile(history).append(to_json(lines.back()).dump() + "\n");
    replace_file(page, benchmarks::history_page(lines));
    std::cout << history << ": line " << lines.size() << "; all of them: " << page << "\n";
  } catch (const std::exception& error) {
    std::cerr << "record_history: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
