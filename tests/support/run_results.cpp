#include "tests/support/run_results.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "runtime/hdf5.h"

namespace tessera {

std::map<std::string, std::vector<float>> checkpoint_bits(const std::string& checkpoint) {
  std::map<std::string, std::vector<float>> all;
  for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(checkpoint)) {
    if (entry.path().extension() != ".h5") continue;
    const hdf5::File file = hdf5::File::open(entry.path().string());
    for (const char* group : {"/parameters", "/first", "/second"}) {
      for (const std::string& name : file.children(group)) {
        const std::string path = std::string(group) + "/" + name;
        const std::vector<float> values = file.read<float>(path);
        const int64_t begin = file.attribute<int64_t>(path, "begin");
        std::vector<float>& whole = all[path];
        whole.resize(std::max(whole.size(), static_cast<size_t>(begin) + values.size()));
        std::copy(values.begin(), values.end(), whole.begin() + begin);
      }
    }
  }
  return all;
}

std::vector<double> losses(const std::string& run) {
  std::ifstream in(run + "/metrics.jsonl");
  std::vector<double> values;
  for (std::string line; std::getline(in, line);)
    values.push_back(Json::parse(line).at("loss").get<double>());
  return values;
}

std::vector<Json> metrics_without_times(const std::string& run) {
  std::ifstream in(run + "/metrics.jsonl");
  std::vector<Json> lines;
  for (std::string line; std::getline(in, line);) {
    Json& json = lines.emplace_back(Json::parse(line));
    for (const char* key :
         {"seconds", "tokens_per_second", "flops_per_second", "matrix_peak_fraction", "memory_bytes"})
      json.erase(key);
  }
  return lines;
}

}  // namespace tessera
