#include <cmath>
#include <filesystem>

#include "launch/inspect_parts.h"
#include "parallel/checkpoint.h"
#include "runtime/hdf5.h"

namespace tessera {
namespace {

/// What the files hold of one parameter, over all of its ranges.
struct Stored {
  int64_t count = 0;
  int64_t nonfinite = 0;
  double squares = 0, most = 0;

  void add(const std::vector<float>& values) {
    count += std::ssize(values);
    for (const float value : values) {
      if (!std::isfinite(value)) {
        ++nonfinite;
        continue;
      }
      squares += static_cast<double>(value) * static_cast<double>(value);
      most = std::max(most, std::abs(static_cast<double>(value)));
    }
  }
};

/// Reads every parameter of the files that are whole.
std::map<std::string, Stored> read_parameters(const std::string& folder, const Json& manifest) {
  std::map<std::string, Stored> stored;
  for (const Json& entry : manifest.at("files")) {
    const hdf5::File file = hdf5::File::open(folder + "/" + entry.at("name").get<std::string>());
    for (const Json& range : entry.at("ranges")) {
      const auto name = range.at("parameter").get<std::string>();
      stored[name].add(file.read<float>("/parameters/" + name));
    }
  }
  return stored;
}

Json parameter_table(const Json& manifest, const std::map<std::string, Stored>& stored, Json& problems) {
  Json table = Json::array();
  for (const auto& [name, sizes] : manifest.at("parameters").items()) {
    int64_t count = 1;
    for (const Json& size : sizes) count *= size.get<int64_t>();
    const auto found = stored.find(name);
    const Stored values = found == stored.end() ? Stored{} : found->second;
    if (values.count != count)
      problems.push_back(str(name, ": ", values.count, " of ", count, " values are stored"));
    if (values.nonfinite > 0) problems.push_back(str(name, ": ", values.nonfinite, " values are not finite"));
    table.push_back({{"parameter", name},
                     {"shape", sizes.dump()},
                     {"count", count},
                     {"norm", std::sqrt(values.squares)},
                     {"largest", values.most}});
  }
  return table;
}

}  // namespace

Json inspect_checkpoint(const std::string& folder) {
  const Json manifest = read_checkpoint_manifest(folder);
  Json problems = Json::array(), files = Json::array(), parameters = Json::array();
  for (const std::string& damage : damaged_files(folder)) problems.push_back(damage);
  try {
    if (problems.empty()) parameters = parameter_table(manifest, read_parameters(folder, manifest), problems);
    for (const Json& file : manifest.at("files"))
      files.push_back({{"file", file.at("name")},
                       {"bytes", file.at("bytes")},
                       {"ranges", file.at("ranges").size()},
                       {"xxh3", file.at("xxh3")}});
  } catch (const Json::exception&) {
    throw Error(str(folder, "/manifest.json: a part of it is missing or of the wrong type"));
  }
  int64_t count = 0;
  for (const Json& row : parameters) count += row["count"].get<int64_t>();
  Json summary{{"kind", "checkpoint"}, {"path", folder}, {"step", manifest.value("step", Json())}};
  summary["optimizer"] = manifest.value("has_moments", false) ? "first and second moments" : "none";
  if (!parameters.empty()) summary["values"] = count;
  summary["files"] = files;
  summary["parameters"] = parameters;
  summary["state"] = manifest.value("state", Json());
  summary["problems"] = problems;
  return summary;
}

}  // namespace tessera
